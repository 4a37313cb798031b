package row

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Decoder fills slots of a frame from a record's JSON object. Only the fields
// it is made for are looked at; names are case-sensitive, the last of repeated
// names wins, unknown ones are skipped. It belongs to one task.
type Decoder struct {
	fields object
	slots  []int
	dec    jsontext.Decoder
	buf    bytes.Buffer
	opts   []jsontext.Options
}

// object is what finds a field by its name in the data.
type object struct {
	fields []Field
	quoted []string // each field's name as JSON, in its shortest form
	seen   []uint64 // the number of the object in which the field was last seen
	number uint64
	next   int // the field that is likely to come next
}

func newObject(fields []Field) object {
	o := object{fields: fields, seen: make([]uint64, len(fields))}
	for i := range fields {
		quoted, _ := jsontext.AppendQuote(nil, fields[i].OnWire())
		o.quoted = append(o.quoted, string(quoted))
	}
	return o
}

// NewDecoder returns a decoder of fields[i] into the slot slots[i].
func NewDecoder(fields []Field, slots []int) *Decoder {
	return &Decoder{
		fields: newObject(fields),
		slots:  slots,
		opts:   []jsontext.Options{jsontext.AllowDuplicateNames(true)},
	}
}

// Decode begins a new record in f. Strings of f point into data afterwards.
func (d *Decoder) Decode(data []byte, f *Frame) error {
	f.Begin()
	// A bytes.Buffer is the one reader that the decoder reads without a copy.
	d.buf = *bytes.NewBuffer(data)
	d.dec.Reset(&d.buf, d.opts...)
	o := &d.fields
	o.number++
	if err := d.object(o, func(i int) *Slot { return &f.Slots[d.slots[i]] }, f); err != nil {
		return err
	}
	if _, err := d.dec.ReadToken(); err != io.EOF {
		return fmt.Errorf("%w: something follows it", ErrNotJSON)
	}
	return nil
}

// object reads one JSON object; at gives the slot of the field i.
func (d *Decoder) object(o *object, at func(i int) *Slot, f *Frame) error {
	if err := d.open('{'); err != nil {
		return err
	}
	for d.dec.PeekKind() != '}' {
		name, err := d.dec.ReadValue()
		if err != nil {
			return notJSON(err)
		}
		i := o.find(name)
		if i < 0 {
			if err := d.dec.SkipValue(); err != nil {
				return notJSON(err)
			}
			continue
		}
		o.seen[i] = o.number
		if err := d.value(o.fields[i].Type, at(i), f); err != nil {
			return o.wrong(i, err)
		}
		if at(i).Null && !o.fields[i].Optional {
			return o.wrong(i, ErrNull)
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return notJSON(err)
	}
	return o.missing(at)
}

// find returns the index of the field with this quoted name, or -1.
func (o *object) find(name []byte) int {
	for range o.quoted {
		i := o.next
		if o.next++; o.next == len(o.quoted) {
			o.next = 0
		}
		if o.quoted[i] == string(name) {
			return i
		}
	}
	if bytes.IndexByte(name, '\\') < 0 {
		return -1
	}
	plain, err := jsontext.AppendUnquote(nil, name)
	if err != nil {
		return -1
	}
	return slices.IndexFunc(o.fields, func(f Field) bool { return f.OnWire() == string(plain) })
}

// missing makes the fields that were not there null, or complains.
func (o *object) missing(at func(i int) *Slot) error {
	for i := range o.fields {
		if o.seen[i] == o.number {
			continue
		}
		if !o.fields[i].Optional {
			return o.wrong(i, ErrMissing)
		}
		at(i).SetNull()
	}
	return nil
}

func (o *object) wrong(i int, err error) error {
	return fmt.Errorf("field %q: %w", o.fields[i].OnWire(), err)
}

func notJSON(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	return err
}

func (d *Decoder) open(want jsontext.Kind) error {
	if k := d.dec.PeekKind(); k != want && k > 0 {
		return mismatch(want, k)
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return notJSON(err)
	}
	return nil
}

func mismatch(want, got jsontext.Kind) error {
	names := map[jsontext.Kind]string{'{': "an object", '[': "a list", '"': "a string", '0': "a number", 't': "true or false", 'f': "true or false", 'n': "null"}
	return fmt.Errorf("%w: %s where %s is expected", ErrMismatch, names[got], names[want])
}

// value reads one value of type t into s.
func (d *Decoder) value(t *Type, s *Slot, f *Frame) error {
	kind := d.dec.PeekKind()
	if kind == 'n' {
		s.SetNull()
		_, err := d.dec.ReadToken()
		return err
	}
	switch t.Kind {
	case List:
		return d.list(t, s, f)
	case Map:
		return d.entries(t, s, f)
	case Record:
		return d.record(t, s, f)
	}
	raw, err := d.dec.ReadValue()
	if err != nil {
		return notJSON(err)
	}
	return scalar(t.Kind, kind, raw, s, f)
}

// scalar reads the JSON value raw, whose kind is got.
func scalar(k Kind, got jsontext.Kind, raw []byte, s *Slot, f *Frame) error {
	switch {
	case k == Bool && (got == 't' || got == 'f'):
		s.SetBool(got == 't')
		return nil
	case k.Whole() && got == '0':
		return whole(k, raw, s)
	case k.Real() && got == '0':
		return double(k, raw, s)
	case k == String && got == '"':
		t, err := unquote(raw, f)
		s.SetString(t)
		return err
	case k == Bytes && got == '"':
		return base64Bytes(raw, s, f)
	case k == Timestamp && got == '"':
		return rfc3339(raw, s, f)
	}
	want := map[Kind]jsontext.Kind{Bool: 't', String: '"', Bytes: '"'}[k]
	if want == 0 {
		want = '0'
	}
	return mismatch(want, got)
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

// unquote returns the text of a JSON string: in place where nothing is
// escaped, else in the arena.
func unquote(raw []byte, f *Frame) (string, error) {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return text(inner), nil
	}
	b, err := jsontext.AppendUnquote(f.Scratch(), raw)
	if err != nil {
		return "", err
	}
	return f.Keep(b), nil
}

func base64Bytes(raw []byte, s *Slot, f *Frame) error {
	t, err := unquote(raw, f)
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.AppendDecode(f.Scratch(), bytesOf(t))
	if err != nil {
		return fmt.Errorf("%w: bytes are written as base64: %w", ErrMismatch, err)
	}
	s.SetString(f.Keep(b))
	return nil
}

func rfc3339(raw []byte, s *Slot, f *Frame) error {
	t, err := unquote(raw, f)
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, t)
	if err != nil {
		return fmt.Errorf("%w: %q is neither milliseconds nor RFC 3339", ErrMismatch, t)
	}
	s.SetWhole(at.UnixMilli())
	return nil
}

// list, entries and record make new memory for each record: their slots are
// handed on by assignment, so reusing it would change what was handed on.

func (d *Decoder) list(t *Type, s *Slot, f *Frame) error {
	if err := d.open('['); err != nil {
		return err
	}
	elems := []Slot{}
	for d.dec.PeekKind() != ']' {
		elems = append(elems, Slot{})
		if err := d.element(t.Elem, &elems[len(elems)-1], f); err != nil {
			return fmt.Errorf("element %d: %w", len(elems)-1, err)
		}
	}
	*s = Slot{L: elems}
	_, err := d.dec.ReadToken()
	return err
}

func (d *Decoder) element(t *Type, s *Slot, f *Frame) error {
	if err := d.value(t, s, f); err != nil {
		return err
	}
	if s.Null {
		return ErrNull
	}
	return nil
}

// entries reads a map: each entry is a slot whose S is the key and whose L
// holds the value.
func (d *Decoder) entries(t *Type, s *Slot, f *Frame) error {
	if err := d.open('{'); err != nil {
		return err
	}
	var found []Slot
	for d.dec.PeekKind() != '}' {
		raw, err := d.dec.ReadValue()
		if err != nil {
			return notJSON(err)
		}
		key, err := unquote(raw, f)
		if err != nil {
			return err
		}
		e := Slot{S: key, L: make([]Slot, 1)}
		if err := d.element(t.Elem, &e.L[0], f); err != nil {
			return fmt.Errorf("entry %q: %w", key, err)
		}
		found = append(found, e)
	}
	*s = Slot{L: SortEntries(found)}
	_, err := d.dec.ReadToken()
	return err
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

func (d *Decoder) record(t *Type, s *Slot, f *Frame) error {
	o := newObject(t.Fields)
	o.number = 1
	fields := make([]Slot, len(t.Fields))
	if err := d.object(&o, func(i int) *Slot { return &fields[i] }, f); err != nil {
		return err
	}
	*s = Slot{L: fields}
	return nil
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
