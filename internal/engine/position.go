package engine

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// position is the record that each commit of a task writes to the positions
// topic, in the commit's transaction (P8): it ties the state of the generation
// to the offsets it belongs to. docs/format/positions.md describes it.
type position struct {
	Format     int                   `json:"format"` // 1
	Generation int                   `json:"generation"`
	Sources    []kstate.SourceOffset `json:"sources"`              // next offset of each input
	Frontiers  []kstate.SourceOffset `json:"frontiers,omitempty"`  // P10
	Watermarks []topology.Watermark  `json:"watermarks,omitempty"` // P27
	Base       *basePosition         `json:"base,omitempty"`       // P16; absent in a generation that began without a savepoint
}

const positionFormat = 1

// positionKey is the key of a task's position records: stage id and partition.
func positionKey(stage string, partition int32) []byte {
	return fmt.Appendf(nil, "%s/%d", stage, partition)
}

func (p position) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("procd/engine: position does not encode: %v", err)) // strings and numbers always do
	}
	return b
}

func decodePosition(value []byte) (position, error) {
	var p position
	if err := json.Unmarshal(value, &p); err != nil {
		return p, fmt.Errorf("procd/engine: reading a position record: %w", err)
	}
	if p.Format != positionFormat {
		return p, fmt.Errorf("procd/engine: position record of format %d; this procd reads format %d: use the version that wrote it, or a newer one", p.Format, positionFormat)
	}
	return p, nil
}

// source returns the next offset of an input, and whether the record has it.
func (p position) source(topic string, partition int32) (int64, bool) {
	for _, s := range p.Sources {
		if s.Topic == topic && s.Partition == partition {
			return s.Offset, true
		}
	}
	return 0, false
}

// committed is what the group knows of one input partition.
type committed struct {
	offset int64  // -1: no commit
	meta   string // the generation that committed it, as text (P8)
}

// startOffset decides where a task's input starts in this generation (P8).
// start is the generation record's offset. It does not yet know the position
// record; agree checks that.
func startOffset(c committed, generation int, start int64) (offset int64, err error) {
	g, known := c.generation()
	switch {
	case c.offset < 0, !known, g < generation:
		return start, nil
	case g > generation:
		return 0, fmt.Errorf("%w: generation %d committed offsets, this process runs generation %d", errOldView, g, generation)
	default:
		return c.offset, nil
	}
}

// current is the offset if the given generation committed it, else -1.
func (c committed) current(generation int) int64 {
	if g, known := c.generation(); known && g == generation {
		return c.offset
	}
	return -1
}

func (c committed) generation() (g int, known bool) {
	g, err := strconv.Atoi(c.meta)
	return g, err == nil && g > 0
}

// agree checks the group's commit of one input against the position record of
// the task, absent if nil (P8).
func agree(topic string, partition int32, c committed, generation int, pos *position) error {
	g, known := c.generation()
	current := c.offset >= 0 && known && g == generation
	if pos == nil {
		if current {
			return &OffsetsError{Topic: topic, Partition: partition, Group: c.offset, State: -1}
		}
		return nil
	}
	want, ok := pos.source(topic, partition)
	if !ok {
		want = -1
	}
	if !current || want != c.offset {
		return &OffsetsError{Topic: topic, Partition: partition, Group: c.offset, State: want, Foreign: !current && c.offset >= 0}
	}
	return nil
}
