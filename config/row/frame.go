package row

import (
	"math"
	"unsafe"
)

// Slot is one value of any type. Which members count follows from the type of
// the field it belongs to.
type Slot struct {
	Null bool
	N    int64  // whole numbers; timestamps in epoch milliseconds; a bool as 0 or 1; the bits of a double
	S    string // strings and bytes; the key, in an entry of a map
	L    []Slot // elements of a list; fields of a record, in order; entries of a map, sorted by key
}

// Double is the slot's number as a double.
func (s *Slot) Double() float64 { return math.Float64frombits(uint64(s.N)) }

// Bool is the slot's number as a bool.
func (s *Slot) Bool() bool { return s.N != 0 }

// SetBool makes the slot this bool.
func (s *Slot) SetBool(b bool) {
	s.Null, s.N = false, 0
	if b {
		s.N = 1
	}
}

// SetWhole makes the slot this number.
func (s *Slot) SetWhole(n int64) { s.Null, s.N = false, n }

// SetDouble makes the slot this number.
func (s *Slot) SetDouble(d float64) { s.Null, s.N = false, int64(math.Float64bits(d)) }

// SetString makes the slot this text, without copying it.
func (s *Slot) SetString(t string) { s.Null, s.S = false, t }

// SetNull makes the slot null; what it held reads as zero from here on.
func (s *Slot) SetNull() { *s = Slot{Null: true} }

// Frame is the memory of one task; see the package comment.
type Frame struct {
	Slots []Slot
	arena []byte
}

// NewFrame returns a frame of n slots, all null.
func NewFrame(n int) *Frame {
	f := &Frame{Slots: make([]Slot, n), arena: make([]byte, 0, 256)}
	for i := range f.Slots {
		f.Slots[i].Null = true
	}
	return f
}

// Begin forgets the strings made for the record before.
func (f *Frame) Begin() {
	// A frame that met one huge record does not keep its memory for ever.
	if cap(f.arena) > 1<<20 {
		f.arena = make([]byte, 0, 256)
	}
	f.arena = f.arena[:0]
}

// Scratch returns the arena to append a string to; Keep turns what was
// appended into that string. Nothing else may use the arena in between.
func (f *Frame) Scratch() []byte { return f.arena }

// Keep takes what was appended to Scratch and returns it as a string, valid
// until the next Begin.
func (f *Frame) Keep(b []byte) string {
	from := len(f.arena)
	f.arena = b
	return text(b[from:])
}

// text views bytes as a string. It is sound while nobody writes to b, which
// for the arena and a record's value is until the next record.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// bytesOf views a string as bytes, which must not be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
