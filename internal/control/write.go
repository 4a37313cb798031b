package control

import (
	"time"
)

// origin is recorded with every decision.
type origin struct {
	startID string
	seat    string // of the process
	by      string
	at      time.Time
}

// entry is one record to be written to the control topic.
type entry struct {
	key   string
	value []byte
}

// entries are the records that carry out a verdict that writes. They go into
// one transaction: either all of them count or none (P1). begun is the
// generation record of a Create, made at the edge; the verdict overrides
// nothing in it.
func (v Verdict) entries(d Definition, current Current, begun Generation, o origin) ([]entry, error) {
	state := State{State: Running, Generation: v.Generation, Run: v.Run, At: o.at, By: o.by, Seat: o.seat}
	var list entryList
	switch v.Action {
	case Create:
		add(&list, generationKey(v.Generation), begun)
		addState(&list, state)
	case Revise:
		add(&list, revisionKey(v.Generation, v.Revision), Revision{
			Generation: v.Generation, Revision: v.Revision, StartID: o.startID,
			JobHash: d.Hash, Definition: d.Text, Stores: v.Stores, CreatedAt: o.at, By: o.by, Seat: o.seat,
		})
		if v.Run != current.State.Run {
			addState(&list, state)
		}
	case Resume:
		addState(&list, state)
	}
	return list.entries, list.err
}

// entryList collects records and the first error of encoding one.
type entryList struct {
	entries []entry
	err     error
}

// addState adds the state twice: as the current one, and to be remembered.
func addState(l *entryList, s State) {
	add(l, keyState, s)
	add(l, runKey(s), s)
}

func add[T any](l *entryList, key string, record T) {
	value, err := encode(record)
	if err != nil && l.err == nil {
		l.err = err
	}
	l.entries = append(l.entries, entry{key: key, value: value})
}
