package config

import (
	"cmp"
	"errors"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/procd/procd/config/row"
	"github.com/procd/procd/topology"
)

// metaFields are the fields of meta.
var metaFields = []row.Field{
	{Name: "key", Type: row.Of(row.String), Optional: true},
	{Name: "time", Type: row.Of(row.Timestamp)},
	{Name: "topic", Type: row.Of(row.String)},
	{Name: "partition", Type: row.Of(row.Int)},
	{Name: "offset", Type: row.Of(row.Long)},
	{Name: "headers", Type: &row.Type{Kind: row.Map, Elem: row.Of(row.String)}},
}

var errMetaText = errors.New("the record's key or a header is not valid UTF-8, and the job reads it as text")

// fillers put one field of meta into a slot.
var fillers = []func(m *topology.Meta, s *row.Slot) error{
	func(m *topology.Meta, s *row.Slot) error {
		if s.SetString(view(m.Key)); m.Key == nil {
			s.SetNull()
		}
		return checkText(m.Key)
	},
	func(m *topology.Meta, s *row.Slot) error { s.SetWhole(m.Time); return nil },
	func(m *topology.Meta, s *row.Slot) error { s.SetString(m.Topic); return nil },
	func(m *topology.Meta, s *row.Slot) error { s.SetWhole(int64(m.Partition)); return nil },
	func(m *topology.Meta, s *row.Slot) error { s.SetWhole(m.Offset); return nil },
	fillHeaders,
}

func fillHeaders(m *topology.Meta, s *row.Slot) error {
	*s = row.Slot{L: make([]row.Slot, 0, len(m.Headers))}
	for _, h := range m.Headers {
		if err := cmp.Or(checkText([]byte(h.Key)), checkText(h.Value)); err != nil {
			return err
		}
		s.L = append(s.L, row.Slot{S: h.Key, L: []row.Slot{{S: view(h.Value)}}})
	}
	s.L = row.SortEntries(s.L)
	return nil
}

func checkText(b []byte) error {
	if !utf8.Valid(b) {
		return errMetaText
	}
	return nil
}

// view is b as a string, valid as long as the record is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// fillMeta is the first step of each stage: it fills those fields of meta that
// some expression of the stage reads. Which they are is known only when the
// whole file has been read, so the choice is made for each task.
func (f *flow) fillMeta() {
	st := f.stage
	f.step(func() func(ctx, *row.Frame) {
		var fill []int
		for i, slot := range st.meta.Slots {
			if st.used[slot] {
				fill = append(fill, i)
			}
		}
		fill = slices.Clip(fill)
		return func(c ctx, fr *row.Frame) {
			for _, i := range fill {
				if err := fillers[i](c.Meta(), &fr.Slots[st.meta.Slots[i]]); err != nil {
					c.Fail(err)
					return
				}
			}
			c.Emit(fr)
		}
	})
}
