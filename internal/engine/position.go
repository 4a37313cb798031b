package engine

import (
	"fmt"
	"strconv"

	"github.com/procd/procd/internal/positions"
)

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
func agree(topic string, partition int32, c committed, generation int, pos *positions.Record) error {
	g, known := c.generation()
	current := c.offset >= 0 && known && g == generation
	if pos == nil {
		if current {
			return &OffsetsError{Topic: topic, Partition: partition, Group: c.offset, State: -1}
		}
		return nil
	}
	want, ok := pos.Source(topic, partition)
	if !ok {
		want = -1
	}
	if !current || want != c.offset {
		return &OffsetsError{Topic: topic, Partition: partition, Group: c.offset, State: want, Foreign: !current && c.offset >= 0}
	}
	return nil
}
