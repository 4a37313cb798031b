package row

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
)

// Decoder fills slots of a frame from a record's JSON object. Only the fields
// it is made for are looked at; names are case-sensitive, the last of repeated
// names wins, unknown ones are skipped. It belongs to one task.
type Decoder struct {
	fields object
	data   []byte // of the record
	frame  *Frame
}

// object is what finds a field by its name in the data.
type object struct {
	fields []Field
	slots  []int // where each field's value goes
	names  jsonbytes.Names
	seen   []uint64 // the number of the object in which the field was last seen
	number uint64
}

func newObject(fields []Field, slots []int) object {
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].OnWire()
	}
	return object{fields: fields, slots: slots, names: jsonbytes.NewNames(names), seen: make([]uint64, len(fields))}
}

// NewDecoder returns a decoder of fields[i] into the slot slots[i].
func NewDecoder(fields []Field, slots []int) *Decoder {
	return &Decoder{fields: newObject(fields, slots)}
}

// Decode begins a new record in f. Strings of f point into data afterwards.
func (d *Decoder) Decode(data []byte, f *Frame) error {
	f.Begin()
	d.data, d.frame = data, f
	end, err := d.object(&d.fields, f.Slots, jsonbytes.Space(data, 0), jsonbytes.MaxDepth)
	if err != nil {
		return err
	}
	if jsonbytes.Space(data, end) < len(data) {
		return fmt.Errorf("%w: something follows it", ErrNotJSON)
	}
	return nil
}

// The functions below read what is at a place in the record, in which objects
// and lists are at most depth levels deep, and return the place behind it.

// object reads one JSON object into slots.
func (d *Decoder) object(o *object, slots []Slot, at, depth int) (end int, err error) {
	if err := d.expect('{', at, depth); err != nil {
		return 0, err
	}
	o.number++
	at, more := jsonbytes.Begin(d.data, at, '}')
	for more {
		quoted, plain, value := jsonbytes.Name(d.data, at)
		if value < 0 {
			return 0, d.notJSON()
		}
		i := o.find(quoted, plain)
		if i < 0 {
			at = jsonbytes.Value(d.data, value, depth-1)
		} else if at, err = d.field(o, i, slots, value, depth-1); err != nil {
			return 0, o.wrong(i, err)
		}
		at, more = jsonbytes.Next(d.data, at, '}')
	}
	if at < 0 {
		return 0, d.notJSON()
	}
	return at, o.missing(slots)
}

// field reads the value of the field i.
func (d *Decoder) field(o *object, i int, slots []Slot, at, depth int) (end int, err error) {
	o.seen[i] = o.number
	s := &slots[o.slots[i]]
	end, err = d.value(o.fields[i].Type, s, at, depth)
	if err == nil && s.Null && !o.fields[i].Optional {
		err = ErrNull
	}
	return end, err
}

// find returns the index of the field with this name, or -1.
func (o *object) find(quoted []byte, plain bool) int {
	if !plain {
		name, _ := jsontext.AppendUnquote(nil, quoted)
		return o.names.Find(name)
	}
	return o.names.Find(quoted[1 : len(quoted)-1])
}

// missing makes the fields that were not there null, or complains.
func (o *object) missing(slots []Slot) error {
	for i := range o.fields {
		if o.seen[i] == o.number {
			continue
		}
		if !o.fields[i].Optional {
			return o.wrong(i, ErrMissing)
		}
		slots[o.slots[i]].SetNull()
	}
	return nil
}

func (o *object) wrong(i int, err error) error {
	return fmt.Errorf("field %q: %w", o.fields[i].OnWire(), err)
}

// notJSON asks the library what is wrong with the record.
func (d *Decoder) notJSON() error {
	dec := jsontext.NewDecoder(bytes.NewReader(d.data), jsontext.AllowDuplicateNames(true))
	err := dec.SkipValue()
	if err == nil {
		return ErrNotJSON // the library holds it to be
	}
	return fmt.Errorf("%w: %w", ErrNotJSON, err)
}

// expect complains if the object or list that begins with want is not there.
func (d *Decoder) expect(want byte, at, depth int) error {
	switch got := jsonbytes.Kind(d.data, at); {
	case got == want && depth > 0:
		return nil
	case got == want || jsonbytes.Value(d.data, at, depth) < 0:
		return d.notJSON()
	default:
		return mismatch(want, got)
	}
}

func mismatch(want, got byte) error {
	names := map[byte]string{'{': "an object", '[': "a list", '"': "a string", 't': "true or false", 'f': "true or false", 'n': "null"}
	name := func(kind byte) string { return cmp.Or(names[kind], "a number") }
	return fmt.Errorf("%w: %s where %s is expected", ErrMismatch, name(got), name(want))
}

// value reads one value of type t into s.
func (d *Decoder) value(t *Type, s *Slot, at, depth int) (end int, err error) {
	kind := jsonbytes.Kind(d.data, at)
	if kind == 'n' {
		s.SetNull()
		if end = jsonbytes.Literal(d.data, at); end < 0 {
			return 0, d.notJSON()
		}
		return end, nil
	}
	switch t.Kind {
	case List:
		return d.list(t, s, at, depth)
	case Map:
		return d.entries(t, s, at, depth)
	case Record:
		return d.record(t, s, at, depth)
	case String:
		if kind == '"' {
			s.Null = false
			s.S, end, err = d.text(at)
			return end, err
		}
	case Int, Long, Timestamp:
		if n, end := jsonbytes.Whole(d.data, at); end >= 0 && (t.Kind != Int || n == int64(int32(n))) {
			s.SetWhole(n)
			return end, nil
		}
	}
	if end = jsonbytes.Value(d.data, at, depth); end < 0 {
		return 0, d.notJSON()
	}
	return end, d.scalar(t.Kind, kind, s, at, end)
}

// scalar takes the JSON value that is from a place up to the other, whose first
// byte is got.
func (d *Decoder) scalar(k Kind, got byte, s *Slot, at, end int) error {
	raw, number := d.data[at:end], got == '-' || got-'0' < 10
	switch {
	case k == Bool && (got == 't' || got == 'f'):
		s.SetBool(got == 't')
		return nil
	case k.Whole() && number:
		return whole(k, raw, s)
	case k.Real() && number:
		return double(k, raw, s)
	case k == Bytes && got == '"':
		return d.base64Bytes(s, at)
	case k == Timestamp && got == '"':
		return d.rfc3339(s, at)
	}
	return mismatch(map[Kind]byte{Bool: 't', String: '"', Bytes: '"'}[k], got)
}

func whole(k Kind, raw []byte, s *Slot) error {
	n, err := strconv.ParseInt(text(raw), 10, 64)
	if err != nil {
		if bytes.ContainsAny(raw, ".eE") {
			return fmt.Errorf("%w: %s is no whole number", ErrMismatch, raw)
		}
		return tooLarge(string(raw), k)
	}
	if k == Int && n != int64(int32(n)) {
		return tooLarge(string(raw), k)
	}
	s.SetWhole(n)
	return nil
}

func tooLarge(value string, k Kind) error {
	return fmt.Errorf("%s %w: the field is %s", value, ErrRange, map[Kind]string{
		Int: "an int (32 bits)", Long: "a long (64 bits)", Timestamp: "a timestamp (64 bits)", Float: "a float", Double: "a double",
	}[k])
}

func double(k Kind, raw []byte, s *Slot) error {
	bits := 64
	if k == Float {
		bits = 32
	}
	v, err := strconv.ParseFloat(text(raw), bits)
	if err != nil {
		return tooLarge(string(raw), k)
	}
	s.SetDouble(v)
	return nil
}

// text reads a JSON string: in place where nothing is escaped, else into the
// arena.
func (d *Decoder) text(at int) (t string, end int, err error) {
	end, plain := jsonbytes.String(d.data, at)
	if end < 0 {
		return "", 0, d.notJSON()
	}
	if plain {
		return text(d.data[at+1 : end-1]), end, nil
	}
	b, err := jsontext.AppendUnquote(d.frame.Scratch(), d.data[at:end])
	if err != nil {
		return "", 0, err
	}
	return d.frame.Keep(b), end, nil
}

func (d *Decoder) base64Bytes(s *Slot, at int) error {
	t, _, err := d.text(at)
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.AppendDecode(d.frame.Scratch(), bytesOf(t))
	if err != nil {
		return fmt.Errorf("%w: bytes are written as base64: %w", ErrMismatch, err)
	}
	s.SetString(d.frame.Keep(b))
	return nil
}

func (d *Decoder) rfc3339(s *Slot, at int) error {
	t, _, err := d.text(at)
	if err != nil {
		return err
	}
	when, err := time.Parse(time.RFC3339Nano, t)
	if err != nil {
		return fmt.Errorf("%w: %q is neither milliseconds nor RFC 3339", ErrMismatch, t)
	}
	s.SetWhole(when.UnixMilli())
	return nil
}

// list, entries and record make new memory for each record: their slots are
// handed on by assignment, so reusing it would change what was handed on.

func (d *Decoder) list(t *Type, s *Slot, at, depth int) (end int, err error) {
	if err := d.expect('[', at, depth); err != nil {
		return 0, err
	}
	elems := []Slot{}
	at, more := jsonbytes.Begin(d.data, at, ']')
	for more {
		elems = append(elems, Slot{})
		if at, err = d.element(t.Elem, &elems[len(elems)-1], at, depth-1); err != nil {
			return 0, fmt.Errorf("element %d: %w", len(elems)-1, err)
		}
		at, more = jsonbytes.Next(d.data, at, ']')
	}
	if at < 0 {
		return 0, d.notJSON()
	}
	*s = Slot{L: elems}
	return at, nil
}

func (d *Decoder) element(t *Type, s *Slot, at, depth int) (end int, err error) {
	end, err = d.value(t, s, at, depth)
	if err == nil && s.Null {
		err = ErrNull
	}
	return end, err
}

// entries reads a map: each entry is a slot whose S is the key and whose L
// holds the value.
func (d *Decoder) entries(t *Type, s *Slot, at, depth int) (end int, err error) {
	if err := d.expect('{', at, depth); err != nil {
		return 0, err
	}
	var found []Slot
	at, more := jsonbytes.Begin(d.data, at, '}')
	for more {
		_, _, value := jsonbytes.Name(d.data, at)
		if value < 0 {
			return 0, d.notJSON()
		}
		key, _, err := d.text(at)
		if err != nil {
			return 0, err
		}
		e := Slot{S: key, L: make([]Slot, 1)}
		if at, err = d.element(t.Elem, &e.L[0], value, depth-1); err != nil {
			return 0, fmt.Errorf("entry %q: %w", key, err)
		}
		found = append(found, e)
		at, more = jsonbytes.Next(d.data, at, '}')
	}
	if at < 0 {
		return 0, d.notJSON()
	}
	*s = Slot{L: SortEntries(found)}
	return at, nil
}

// SortEntries puts the entries of a map into the order of their keys; of
// repeated keys the last one stays.
func SortEntries(entries []Slot) []Slot {
	slices.SortStableFunc(entries, func(a, b Slot) int { return cmp.Compare(a.S, b.S) })
	out := entries[:0]
	for i, e := range entries {
		if i+1 == len(entries) || entries[i+1].S != e.S {
			out = append(out, e)
		}
	}
	return out
}

func (d *Decoder) record(t *Type, s *Slot, at, depth int) (end int, err error) {
	inOrder := make([]int, len(t.Fields))
	for i := range inOrder {
		inOrder[i] = i
	}
	o := newObject(t.Fields, inOrder)
	fields := make([]Slot, len(t.Fields))
	if end, err = d.object(&o, fields, at, depth); err != nil {
		return 0, err
	}
	*s = Slot{L: fields}
	return end, nil
}

// DecodeText begins a new record whose one field, in the given slot, is the
// whole value: of the format string (kind String), which must be UTF-8, or
// bytes.
func DecodeText(data []byte, k Kind, slot int, f *Frame) error {
	f.Begin()
	if k == String && !utf8.Valid(data) {
		return fmt.Errorf("%w: the value is not valid UTF-8", ErrMismatch)
	}
	f.Slots[slot].SetString(text(data))
	return nil
}

// CheckRange says whether a number computed by an expression fits the kind of
// the field that it is written to.
func CheckRange(k Kind, s *Slot) error {
	switch k {
	case Int:
		if s.N != int64(int32(s.N)) {
			return tooLarge(strconv.FormatInt(s.N, 10), k)
		}
	case Float:
		if v := s.Double(); math.Abs(v) > math.MaxFloat32 && !math.IsInf(v, 0) {
			return tooLarge(strconv.FormatFloat(v, 'g', -1, 64), k)
		}
	}
	return nil
}
