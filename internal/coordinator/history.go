package coordinator

import (
	"slices"
	"time"

	"github.com/procd/procd/internal/control"
)

// EventKind says what an entry of a job's history is.
type EventKind string

const (
	BeganGeneration EventKind = "generation"
	BeganRevision   EventKind = "revision"
	TookSavepoint   EventKind = "savepoint" // SAVED, or failed
	CameToState     EventKind = "state"     // RUNNING again, STOPPED or RESET
)

// Entry is one line of `procd history`.
type Entry struct {
	At         time.Time `json:"at"`
	Kind       EventKind `json:"kind"`
	Generation int       `json:"generation"`
	Revision   int       `json:"revision,omitempty"`
	Run        int       `json:"run,omitempty"`
	By         string    `json:"by"`
	// State, of CameToState.
	State control.RunState `json:"state,omitempty"`
	// Savepoint, of TookSavepoint.
	Savepoint *control.Result `json:"savepoint,omitempty"`
}

// History is what the control topic remembers of a job, the oldest first.
func History(v *control.View) []Entry {
	var all []Entry
	for _, g := range v.Generations() {
		all = append(all, Entry{At: g.CreatedAt, Kind: BeganGeneration, Generation: g.Generation, Run: g.Run, By: g.By})
	}
	for _, r := range v.Revisions() {
		all = append(all, Entry{At: r.CreatedAt, Kind: BeganRevision, Generation: r.Generation, Revision: r.Revision, By: r.By})
	}
	for _, r := range v.Results() {
		all = append(all, Entry{At: r.Finished, Kind: TookSavepoint, Generation: r.Generation, Run: r.Run, By: r.By, Savepoint: &r})
	}
	for _, s := range v.States() {
		if !told(v, s) {
			all = append(all, Entry{At: s.At, Kind: CameToState, Generation: s.Generation, Run: s.Run, By: s.By, State: s.State})
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// told says whether a state came with a generation or a savepoint, which tell it.
func told(v *control.View, s control.State) bool {
	if s.State == control.Running {
		return slices.ContainsFunc(v.Generations(), func(g control.Generation) bool { return g.Run == s.Run })
	}
	return slices.ContainsFunc(v.Results(), func(r control.Result) bool { return r.Stopped && r.ID == s.Savepoint && s.State == control.Stopped })
}
