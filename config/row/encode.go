package row

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
)

// Encoder writes slots as one JSON object, its fields in their order; a null
// optional field is left out.
type Encoder struct {
	fields []Field
	slots  []int
	names  [][]byte // each with its quotes and colon
}

// NewEncoder returns an encoder of the slot slots[i] as fields[i].
func NewEncoder(fields []Field, slots []int) *Encoder {
	return &Encoder{fields: fields, slots: slots, names: quotedNames(fields)}
}

func quotedNames(fields []Field) [][]byte {
	names := make([][]byte, len(fields))
	for i := range fields {
		quoted, _ := jsontext.AppendQuote(nil, fields[i].OnWire())
		names[i] = append(quoted, ':')
	}
	return names
}

// Append appends the record in f to dst.
func (e *Encoder) Append(dst []byte, f *Frame) ([]byte, error) {
	dst = append(dst, '{')
	start := len(dst)
	for i := range e.fields {
		s := &f.Slots[e.slots[i]]
		if s.Null && e.fields[i].Optional {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, e.names[i]...)
		var err error
		if dst, err = appendJSON(dst, e.fields[i].Type, s); err != nil {
			return dst, fmt.Errorf("field %q: %w", e.fields[i].OnWire(), err)
		}
	}
	return append(dst, '}'), nil
}

// appendJSON appends one value.
func appendJSON(dst []byte, t *Type, s *Slot) ([]byte, error) {
	if s.Null && t.Kind.Scalar() {
		return dst, ErrNull
	}
	if err := CheckRange(t.Kind, s); err != nil {
		return dst, err
	}
	switch t.Kind {
	case Bool:
		return strconv.AppendBool(dst, s.Bool()), nil
	case Int, Long, Timestamp:
		return strconv.AppendInt(dst, s.N, 10), nil
	case Float:
		return appendDouble(dst, s.Double(), 32)
	case Double:
		return appendDouble(dst, s.Double(), 64)
	case String:
		return jsonbytes.AppendString(dst, s.S)
	case Bytes:
		dst = append(dst, '"')
		return append(base64.StdEncoding.AppendEncode(dst, bytesOf(s.S)), '"'), nil
	case List:
		return appendList(dst, t.Elem, s.L)
	case Map:
		return appendMap(dst, t.Elem, s.L)
	}
	return appendRecord(dst, t.Fields, s.L)
}

func appendDouble(dst []byte, v float64, bits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, fmt.Errorf("%v %w: JSON has no such number", v, ErrRange)
	}
	return jsontext.AppendFloat(dst, v, bits), nil
}

func appendList(dst []byte, t *Type, elems []Slot) ([]byte, error) {
	dst = append(dst, '[')
	for i := range elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendJSON(dst, t, &elems[i]); err != nil {
			return dst, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, t *Type, entries []Slot) ([]byte, error) {
	dst = append(dst, '{')
	for i := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = jsonbytes.AppendString(dst, entries[i].S); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = appendJSON(dst, t, &entries[i].L[0]); err != nil {
			return dst, fmt.Errorf("entry %q: %w", entries[i].S, err)
		}
	}
	return append(dst, '}'), nil
}

func appendRecord(dst []byte, fields []Field, slots []Slot) ([]byte, error) {
	dst = append(dst, '{')
	start := len(dst)
	for i := range fields {
		s := Slot{Null: true}
		if i < len(slots) {
			s = slots[i]
		}
		if s.Null && fields[i].Optional {
			continue
		}
		if s.Null {
			s = Slot{} // of a state's record: never set reads as zero
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = jsonbytes.AppendString(dst, fields[i].OnWire()); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = appendJSON(dst, fields[i].Type, &s); err != nil {
			return dst, fmt.Errorf("field %q: %w", fields[i].OnWire(), err)
		}
	}
	return append(dst, '}'), nil
}

// AppendText appends a value as the text of a key: whole numbers decimal, true
// or false, strings and bytes as they are. Other kinds are no keys.
func AppendText(dst []byte, k Kind, s *Slot) ([]byte, error) {
	switch {
	case s.Null:
		return dst, ErrNull
	case k == Bool:
		return strconv.AppendBool(dst, s.Bool()), nil
	case k.Whole():
		return strconv.AppendInt(dst, s.N, 10), nil
	case k == String || k == Bytes:
		return append(dst, s.S...), nil
	}
	return dst, fmt.Errorf("%w: a %s is no key", ErrMismatch, k)
}
