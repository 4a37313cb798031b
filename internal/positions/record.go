// Package positions reads and writes the records that tie the state of a task
// to the offsets it belongs to (P8). docs/format/positions.md describes them.
package positions

import (
	"encoding/json"
	"fmt"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// Record is what each commit of a task writes to the positions topic, in the
// commit's transaction.
type Record struct {
	Format     int                   `json:"format"` // [Format]
	Generation int                   `json:"generation"`
	Sources    []kstate.SourceOffset `json:"sources"`              // next offset of each input
	Frontiers  topology.Frontiers    `json:"frontiers,omitempty"`  // P10
	Watermarks []topology.Watermark  `json:"watermarks,omitempty"` // P27
	Base       *Base                 `json:"base,omitempty"`       // P16; absent in a generation that began without a savepoint
}

// Format is the version of the records.
const Format = 1

// Base is how far a task's state has come from the savepoint that its
// generation began with.
type Base struct {
	Cursors  map[string][]byte `json:"cursors,omitempty"`  // by uid: where the pass goes on
	Finished []string          `json:"finished,omitempty"` // uids whose pass is through
	// Detached: the generation's changelog alone is the state.
	Detached bool `json:"detached,omitempty"`
	Clean    bool `json:"clean,omitempty"` // no deleted markers are left
}

// Task names a task by its stage's id and its partition.
type Task struct {
	Stage     string
	Partition int32
}

// Key is the key of the task's records.
func (t Task) Key() []byte { return fmt.Appendf(nil, "%s/%d", t.Stage, t.Partition) }

// Encode is the record's value.
func (r Record) Encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("procd/positions: a record does not encode: %v", err)) // strings and numbers always do
	}
	return b
}

// Decode reads a record's value. It refuses another format than [Format].
func Decode(value []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("procd/positions: reading a position record: %w", err)
	}
	if r.Format != Format {
		return r, fmt.Errorf("procd/positions: position record of format %d; this procd reads format %d: use the version that wrote it, or a newer one", r.Format, Format)
	}
	return r, nil
}

// Source returns the next offset of an input, and whether the record has it.
func (r *Record) Source(topic string, partition int32) (int64, bool) {
	for _, s := range r.Sources {
		if s.Topic == topic && s.Partition == partition {
			return s.Offset, true
		}
	}
	return 0, false
}
