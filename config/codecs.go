package config

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/config/row"
)

// errWrongWay is for the half of a codec that its topic has no use for.
var errWrongWay = errors.New("procd/config: this codec does not go this way")

// wire is the codec of a topic's values: of the source, of a key step's topic,
// or of an output. It implements codec.PerTask, since decoding needs a frame
// and scratch space.
type wire struct {
	format string
	fields []row.Field
	in     *stage // that decodes; nil for an output
	slots  []int  // of each field in it
	when   *eventTime
	enc    *row.Encoder // nil for a source
	value  int          // the slot of the one field of string and bytes
}

// eventTime is how a source's event time is found.
type eventTime struct {
	field *row.Field
	slot  int // of the field
	unit  string
	out   int // the slot that gets epoch milliseconds
}

// ForTask returns the codec of one task.
func (w *wire) ForTask() codec.Codec[*row.Frame] {
	if w.in == nil {
		return w
	}
	t := &taskWire{wire: w, frame: row.NewFrame(w.in.slots)}
	var fields []row.Field
	var slots []int
	for i, slot := range w.slots {
		if w.in.used[slot] {
			fields, slots = append(fields, w.fields[i]), append(slots, slot)
		}
	}
	t.dec = row.NewDecoder(fields, slots)
	return t
}

// Append encodes the fields of a frame.
func (w *wire) Append(dst []byte, fr **row.Frame) ([]byte, error) {
	switch {
	case w.enc != nil:
		return w.enc.Append(dst, *fr)
	case w.in == nil:
		s := &(*fr).Slots[w.value]
		if s.Null {
			return dst, fmt.Errorf("field \"value\": %w", row.ErrNull)
		}
		return append(dst, s.S...), nil
	}
	return dst, errWrongWay
}

// Decode is the business of a task's own codec.
func (w *wire) Decode([]byte, **row.Frame) error { return errWrongWay }

// taskWire decodes into a task's frame.
type taskWire struct {
	*wire
	frame *row.Frame
	dec   *row.Decoder
}

// Decode fills the task's frame, and hands it out. It is valid until the next
// record.
func (t *taskWire) Decode(data []byte, fr **row.Frame) error {
	*fr = t.frame
	var err error
	switch t.format {
	case "string":
		err = row.DecodeText(data, row.String, t.slots[0], t.frame)
	case "bytes":
		err = row.DecodeText(data, row.Bytes, t.slots[0], t.frame)
	default:
		err = t.dec.Decode(data, t.frame)
	}
	if err == nil && t.when != nil {
		err = t.when.read(t.frame)
	}
	return err
}

// read puts the event time into its slot, in milliseconds.
func (e *eventTime) read(fr *row.Frame) error {
	s, out := &fr.Slots[e.slot], &fr.Slots[e.out]
	n := s.N
	switch e.unit {
	case "s":
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return fmt.Errorf("field %q: %d seconds are no time", e.field.OnWire(), n)
		}
		n *= 1000
	case "us":
		n = floorDiv(n, 1000)
	case "ns":
		n = floorDiv(n, 1_000_000)
	case "rfc3339":
		at, err := time.Parse(time.RFC3339Nano, s.S)
		if err != nil {
			return fmt.Errorf("field %q: %q is no time as RFC 3339 has it", e.field.OnWire(), s.S)
		}
		n = at.UnixMilli()
	}
	out.SetWhole(n)
	return nil
}

func floorDiv(n, d int64) int64 {
	q := n / d
	if n%d < 0 {
		q--
	}
	return q
}
