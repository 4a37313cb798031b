package codec

import (
	"fmt"
	"reflect"
	"time"

	"github.com/twmb/avro"
)

// durations keeps a time.Duration as nanoseconds in a long. The library's own
// choice, milliseconds in an int, loses what is smaller and fails after 24 days.
// It is for deriving only: in a schema that encodes it would take every long
// for a duration, timestamps too, and plain longs need no help.
var durations = avro.CustomType{GoType: reflect.TypeFor[time.Duration](), AvroType: "long"}

// Avro takes a value as Avro binary, without a header, in a schema derived from
// T: a record of T's exported fields, named by their avro tags. Whole numbers
// up to 2^63-1 fit; a time.Time is kept to the millisecond, a time.Duration to
// the nanosecond.
//
// Whether T has a schema is said by Check; see [Checked].
func Avro[T any]() Codec[T] {
	s, err := schemaFor[T](reflect.TypeFor[T]().Name())
	return &avroCodec[T]{schema: s, err: err}
}

type avroCodec[T any] struct {
	schema *avro.Schema
	err    error
}

func (c *avroCodec[T]) Check() error { return c.err }

func (c *avroCodec[T]) Append(dst []byte, v *T) ([]byte, error) {
	return appendAvro(c.schema, dst, v)
}

func (c *avroCodec[T]) Decode(data []byte, v *T) error {
	return decodeAvro(c.schema, data, v)
}

func appendAvro[T any](s *avro.Schema, dst []byte, v *T) ([]byte, error) {
	out, err := s.AppendEncode(dst, v)
	if err != nil {
		return dst, fmt.Errorf("procd/codec: Avro: %w", err)
	}
	return out, nil
}

// decodeAvro clears *v first: the library would reuse the slices and maps that
// it finds there, which may have been handed on.
func decodeAvro[T any](s *avro.Schema, data []byte, v *T) error {
	var zero T
	*v = zero
	rest, err := s.Decode(data, v)
	if err != nil {
		return fmt.Errorf("procd/codec: Avro: %w", err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes after the Avro value", ErrLength, len(rest))
	}
	return nil
}

// inField lets the library, which derives schemas of structs only, derive that
// of any type.
type inField[T any] struct{ V T }

// schemaFor derives the schema of a T; a record gets the name given.
func schemaFor[T any](name string) (*avro.Schema, error) {
	s, err := deriveSchema[T](name)
	if err != nil {
		return nil, fmt.Errorf("%w: %v has no Avro schema: %w", ErrType, reflect.TypeFor[T](), err)
	}
	return s, nil
}

func deriveSchema[T any](name string) (*avro.Schema, error) {
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() {
		s, err := avro.SchemaFor[T](avro.WithName(name), durations)
		if err != nil {
			return nil, err
		}
		return avro.Parse(s.String())
	}
	s, err := avro.SchemaFor[inField[T]](avro.WithName("inField"), durations)
	if err != nil {
		return nil, err
	}
	root := s.Root()
	node := root.Fields[0].Type
	inner, err := node.Schema()
	if err != nil {
		return nil, err
	}
	return avro.Parse(inner.String())
}
