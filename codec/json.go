package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
)

// JSON takes a value as JSON, with encoding/json's struct tags and the rules of
// its version 2: names are case-sensitive, unknown fields are ignored, nil
// slices are [], invalid UTF-8 and anything after the value are errors. Of a
// name that comes twice in an object the last counts. Map entries are written
// in key order.
func JSON[T any]() Codec[T] { return &jsonCodec[T]{} }

// jsonCodec has an encoder and memory for strings, so each task needs its own.
type jsonCodec[T any] struct {
	shape *shape // nil until it is used
	plain plainJSON
}

func (*jsonCodec[T]) ForTask() Codec[T] { return &jsonCodec[T]{} }

// known says whether there is anything in a T that need not go to the library.
func (c *jsonCodec[T]) known() bool {
	if c.shape == nil {
		c.shape = shapeOf(reflect.TypeFor[T]())
	}
	return c.shape.kind != reflect.Invalid
}

func (c *jsonCodec[T]) Append(dst []byte, v *T) ([]byte, error) {
	if c.known() {
		if out, ok := c.plain.append(dst, c.shape, unsafe.Pointer(v), 0); ok {
			return out, nil
		}
	}
	out, err := c.plain.encoder.append(dst, v)
	if err != nil {
		return dst, fmt.Errorf("procd/codec: JSON: %w", err)
	}
	return out, nil
}

func (c *jsonCodec[T]) Decode(data []byte, v *T) error {
	var zero T
	*v = zero
	if c.known() && c.plain.decode(c.shape, unsafe.Pointer(v), data) {
		return nil
	}
	if err := decodeByLibrary(data, v); err != nil {
		*v = zero
		return fmt.Errorf("procd/codec: JSON: %w", err)
	}
	return nil
}

// decodeByLibrary overwrites *v, with anything if there is an error.
func decodeByLibrary[T any](data []byte, v *T) error {
	var zero T
	*v = zero
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	// The library stops at a second value of a name, or at a first one of the
	// wrong type; told to allow duplicates it would merge objects of one name.
	// Its looking for them costs nothing, so only texts that have some pay.
	if once, ok := lastOfNames(data); ok {
		*v = zero
		err = json.Unmarshal(once, v)
	}
	return err
}

// libraryJSON encodes by the library.
type libraryJSON struct {
	buf bytes.Buffer
	enc *jsontext.Encoder
}

// append appends *v, which v points to.
func (l *libraryJSON) append(dst []byte, v any) ([]byte, error) {
	l.buf.Reset()
	if l.enc == nil {
		l.enc = jsontext.NewEncoder(&l.buf)
	}
	l.enc.Reset(&l.buf, json.Deterministic(true))
	if err := json.MarshalEncode(l.enc, v); err != nil {
		return dst, err
	}
	return append(dst, bytes.TrimSuffix(l.buf.Bytes(), newline)...), nil
}

// newline is what an encoder puts behind each value of a stream.
var newline = []byte{'\n'}

// lastOfNames cuts the members out of JSON that a later one of the same name in
// their object replaces. It takes time in proportion to the text. It is not ok
// if the text is not JSON, or has no name twice.
func lastOfNames(data []byte) (out []byte, ok bool) {
	at := jsonbytes.Space(data, 0)
	if end := jsonbytes.Value(data, at, jsonbytes.MaxDepth); end < 0 || jsonbytes.Space(data, end) < len(data) {
		return nil, false
	}
	var replaced []part
	findReplaced(data, at, &replaced)
	slices.SortFunc(replaced, func(a, b part) int { return a.from - b.from })
	from := 0
	for _, r := range replaced {
		if r.from >= from { // and not within the one before
			out, from = append(out, data[from:r.from]...), r.to
		}
	}
	return append(out, data[from:]...), len(replaced) > 0
}

// part is a part of a text: a member, up to the name of the next one.
type part struct{ from, to int }

// findReplaced finds those that a later one replaces, in the value at a place,
// and returns the place behind it. The text is JSON.
func findReplaced(data []byte, at int, replaced *[]part) (end int) {
	switch jsonbytes.Kind(data, at) {
	case '[':
		at, more := jsonbytes.Begin(data, at, ']')
		for more {
			at, more = jsonbytes.Next(data, findReplaced(data, at, replaced), ']')
		}
		return at
	case '{':
		members := make(map[string]part)
		at, more := jsonbytes.Begin(data, at, '}')
		for more {
			from := at
			quoted, _, value := jsonbytes.Name(data, at)
			at, more = jsonbytes.Next(data, findReplaced(data, value, replaced), '}')
			name, _ := jsontext.AppendUnquote(nil, quoted)
			if before, twice := members[string(name)]; twice {
				*replaced = append(*replaced, before)
			}
			members[string(name)] = part{from, at}
		}
		return at
	}
	return jsonbytes.Value(data, at, 0)
}
