package engine

import (
	"errors"
	"testing"

	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
)

// TestP8StartOffset: where an input starts, by what the group has committed.
func TestP8StartOffset(t *testing.T) {
	for _, c := range []struct {
		name string
		c    committed
		want int64
		err  error
	}{
		{"no commit: the generation record", committed{-1, ""}, 100, nil},
		{"of this generation", committed{250, "3"}, 250, nil},
		{"of an older generation: the generation record", committed{900, "2"}, 100, nil},
		{"of another tool: the generation record, agree decides", committed{900, "by hand"}, 100, nil},
		{"of a newer generation: my view is old", committed{900, "4"}, 0, errOldView},
	} {
		got, err := startOffset(c.c, 3, 100)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// TestP8Agree: state and offsets belong together, or the job does not start.
func TestP8Agree(t *testing.T) {
	at := func(offset int64) *positions.Record {
		return &positions.Record{Generation: 3, Sources: []kstate.SourceOffset{{Topic: "t", Partition: 1, Offset: offset}}}
	}
	for _, c := range []struct {
		name  string
		c     committed
		pos   *positions.Record
		fails bool
	}{
		{"a new generation", committed{-1, ""}, nil, false},
		{"a new generation after an older one", committed{700, "2"}, nil, false},
		{"equal", committed{250, "3"}, at(250), false},
		{"the group was moved back by hand", committed{10, ""}, at(250), true},
		{"moved by hand, to where it was", committed{250, ""}, at(250), true},
		{"the commits expired", committed{-1, ""}, at(250), true},
		{"of an older generation, but this one has a position", committed{700, "2"}, at(250), true},
		{"unequal", committed{251, "3"}, at(250), true},
		{"the position record is gone", committed{250, "3"}, nil, true},
		{"the record does not have this input", committed{250, "3"}, &positions.Record{Generation: 3}, true},
	} {
		err := agree("t", 1, c.c, 3, c.pos)
		var offsets *OffsetsError
		if (err != nil) != c.fails || err != nil && (!errors.As(err, &offsets) || offsets.Hint() == "") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
