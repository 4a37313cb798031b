package row

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Avro's binary encoding of slots. A record's fields are unions of null and
// their type: any of them may never have been set, and fields can come and go
// between versions of a job.

var errAvro = errors.New("not the Avro bytes of this type")

// avroSchema is the schema of a record of these fields under this full name.
func avroSchema(name string, fields []Field) string {
	b, err := json.Marshal(avroRecord(name, fields))
	if err != nil {
		panic(err) // strings, lists and maps of them only
	}
	return string(b)
}

// The structs fix the order of the members.
type (
	avroRecordSchema struct {
		Type   string      `json:"type"`
		Name   string      `json:"name"`
		Fields []avroField `json:"fields"`
	}
	avroField struct {
		Name    string `json:"name"`
		Type    [2]any `json:"type"`
		Default any    `json:"default"`
	}
	avroArray struct {
		Type  string `json:"type"`
		Items any    `json:"items"`
	}
	avroMap struct {
		Type   string `json:"type"`
		Values any    `json:"values"`
	}
)

func avroRecord(name string, fields []Field) avroRecordSchema {
	r := avroRecordSchema{Type: "record", Name: name, Fields: []avroField{}}
	for _, f := range fields {
		// A nested record is named after its path, so names never clash.
		r.Fields = append(r.Fields, avroField{Name: f.Name, Type: [2]any{"null", avroType(name+"."+f.Name, f.Type)}})
	}
	return r
}

func avroType(path string, t *Type) any {
	switch t.Kind {
	case Bool:
		return "boolean"
	case Timestamp:
		return "long"
	case List:
		return avroArray{"array", avroType(path+".element", t.Elem)}
	case Map:
		return avroMap{"map", avroType(path+".entry", t.Elem)}
	case Record:
		return avroRecord(path, t.Fields)
	}
	return t.Kind.String()
}

func appendAvroField(dst []byte, f *Field, s *Slot) ([]byte, error) {
	if s.Null {
		return append(dst, 0), nil
	}
	dst, err := appendAvro(append(dst, 2), f.Type, s)
	if err != nil {
		return dst, fmt.Errorf("field %q: %w", f.Name, err)
	}
	return dst, nil
}

func appendAvro(dst []byte, t *Type, s *Slot) ([]byte, error) {
	if err := CheckRange(t.Kind, s); err != nil {
		return dst, err
	}
	switch t.Kind {
	case Bool:
		return append(dst, byte(s.N)), nil
	case Int, Long, Timestamp:
		return binary.AppendVarint(dst, s.N), nil
	case Float:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(s.Double()))), nil
	case Double:
		return binary.LittleEndian.AppendUint64(dst, uint64(s.N)), nil
	case String, Bytes:
		return append(binary.AppendVarint(dst, int64(len(s.S))), s.S...), nil
	case Record:
		return appendAvroRecord(dst, t.Fields, s.L)
	}
	if len(s.L) > 0 {
		dst = binary.AppendVarint(dst, int64(len(s.L)))
	}
	for i := range s.L {
		var err error
		if dst, err = appendAvroItem(dst, t, &s.L[i]); err != nil {
			return dst, err
		}
	}
	return append(dst, 0), nil
}

func appendAvroItem(dst []byte, t *Type, s *Slot) ([]byte, error) {
	if t.Kind == Map {
		dst = append(binary.AppendVarint(dst, int64(len(s.S))), s.S...)
		s = &s.L[0]
	}
	if s.Null {
		return dst, ErrNull
	}
	return appendAvro(dst, t.Elem, s)
}

func appendAvroRecord(dst []byte, fields []Field, slots []Slot) ([]byte, error) {
	null := Slot{Null: true}
	for i := range fields {
		s := &null
		if i < len(slots) {
			s = &slots[i]
		}
		var err error
		if dst, err = appendAvroField(dst, &fields[i], s); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// avroReader reads slots from Avro bytes. Strings point into data.
type avroReader struct {
	data []byte
	bad  bool
}

func (r *avroReader) varint() int64 {
	n, size := binary.Varint(r.data)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[size:]
	return n
}

func (r *avroReader) fail() { r.bad, r.data = true, nil }

func (r *avroReader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.data)) {
		r.fail()
		return make([]byte, 8)[:min(max(n, 0), 8)]
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *avroReader) field(f *Field, s *Slot) {
	switch r.varint() {
	case 0:
		s.SetNull()
	case 1:
		r.value(f.Type, s)
	default:
		r.fail()
	}
}

func (r *avroReader) value(t *Type, s *Slot) {
	switch t.Kind {
	case Bool:
		s.SetBool(r.take(1)[0] != 0)
	case Int, Long, Timestamp:
		s.SetWhole(r.varint())
	case Float:
		s.SetDouble(float64(math.Float32frombits(binary.LittleEndian.Uint32(r.take(4)))))
	case Double:
		s.SetDouble(math.Float64frombits(binary.LittleEndian.Uint64(r.take(8))))
	case String, Bytes:
		s.SetString(text(r.take(r.varint())))
	case Record:
		*s = Slot{L: make([]Slot, len(t.Fields))}
		for i := range t.Fields {
			r.field(&t.Fields[i], &s.L[i])
		}
	default:
		r.items(t, s)
	}
}

// items reads the blocks of a list or map. A negative count is followed by the
// block's size in bytes.
func (r *avroReader) items(t *Type, s *Slot) {
	*s = Slot{L: []Slot{}}
	for !r.bad {
		n := r.varint()
		if n == 0 {
			return
		}
		if n < 0 {
			n = -n
			r.varint()
		}
		for ; n > 0 && !r.bad; n-- {
			var e Slot
			if t.Kind == Map {
				e.S, e.L = text(r.take(r.varint())), make([]Slot, 1)
				r.value(t.Elem, &e.L[0])
			} else {
				r.value(t.Elem, &e)
			}
			s.L = append(s.L, e)
			// An element may take no bytes at all (an empty record does not
			// exist here), so a hostile count ends with the data.
			if len(r.data) == 0 && n > 1 {
				r.fail()
			}
		}
	}
}
