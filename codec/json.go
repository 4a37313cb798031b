package codec

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// JSON takes a value as JSON, with encoding/json's struct tags and the rules of
// its version 2: names are case-sensitive, unknown fields are ignored, nil
// slices are [], invalid UTF-8 and anything after the value are errors. Of a
// name that comes twice in an object the last counts. Map entries are written
// in key order.
func JSON[T any]() Codec[T] { return &jsonCodec[T]{} }

// jsonCodec has an encoder, so each task needs its own.
type jsonCodec[T any] struct {
	buf bytes.Buffer
	enc *jsontext.Encoder
}

func (*jsonCodec[T]) ForTask() Codec[T] { return &jsonCodec[T]{} }

func (c *jsonCodec[T]) Append(dst []byte, v *T) ([]byte, error) {
	c.buf.Reset()
	if c.enc == nil {
		c.enc = jsontext.NewEncoder(&c.buf)
	}
	c.enc.Reset(&c.buf, json.Deterministic(true))
	if err := json.MarshalEncode(c.enc, v); err != nil {
		return dst, fmt.Errorf("procd/codec: JSON: %w", err)
	}
	return append(dst, bytes.TrimSuffix(c.buf.Bytes(), newline)...), nil
}

// newline is what an encoder puts behind each value of a stream.
var newline = []byte{'\n'}

func (c *jsonCodec[T]) Decode(data []byte, v *T) error {
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
	if err != nil {
		*v = zero
		return fmt.Errorf("procd/codec: JSON: %w", err)
	}
	return nil
}

// lastOfNames rewrites JSON so that of each name in an object only the last is
// left. It takes time in proportion to the text. It is not ok if the text is
// not JSON, or has no name twice.
func lastOfNames(data []byte) (out []byte, ok bool) {
	drop, err := shadowed(data)
	if err != nil || len(drop) == 0 {
		return nil, false
	}
	var buf bytes.Buffer
	dec := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	enc := jsontext.NewEncoder(&buf)
	for err == nil {
		err = copyMember(enc, dec, drop)
	}
	return buf.Bytes(), err == io.EOF
}

// copyMember copies a token, or leaves a member out.
func copyMember(enc *jsontext.Encoder, dec *jsontext.Decoder, drop map[place]bool) error {
	if drop[nextName(dec)] {
		if err := dec.SkipValue(); err != nil { // its name
			return err
		}
		return dec.SkipValue()
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	return enc.WriteToken(tok)
}

// place is where a name is in the text: the end of the token before it.
type place int64

// nextName is the place of the name that is next, or -1 if something else is.
func nextName(dec *jsontext.Decoder) place {
	kind, members := dec.StackIndex(dec.StackDepth())
	if kind != jsontext.KindBeginObject || members%2 != 0 || dec.PeekKind() != jsontext.KindString {
		return -1
	}
	return place(dec.InputOffset())
}

// shadowed finds the members of objects that a later one of the same name
// replaces.
func shadowed(data []byte) (map[place]bool, error) {
	drop := make(map[place]bool)
	var open []map[string]place // by depth: the names of the objects around
	dec := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	for {
		at := nextName(dec)
		tok, err := dec.ReadToken()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return drop, err
		}
		switch {
		case at >= 0:
			names := open[len(open)-1]
			if before, ok := names[tok.String()]; ok {
				drop[before] = true
			}
			names[tok.String()] = at
		case tok.Kind() == jsontext.KindBeginObject:
			open = append(open, make(map[string]place))
		case tok.Kind() == jsontext.KindEndObject:
			open = open[:len(open)-1]
		}
	}
}
