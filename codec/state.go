package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/avro"
)

// stateName is the name of every top-level record of a state, so that renaming
// the Go type changes nothing; comparison ignores it.
const stateName = "state"

// StateType is how a store keeps values of S.
type StateType[S any] struct {
	schema *avro.Schema
	plain  bool // assignment makes an independent copy
	err    error
}

// State keeps values of S as Avro binary, as [Avro] does: S can be a struct, a
// number, a bool, a string, or a slice or map of such. Every field of a struct
// must be stored, since one that is not would come back empty after a restart:
// unexported fields and the tag avro:"-" are refused.
//
// A state without pointers, slices, maps and interfaces (strings are fine) is
// copied by assignment. Any other is decoded anew where a copy is needed,
// which costs more. Of a time.Time what is smaller than a millisecond, and the
// time zone, are lost: an int64 of milliseconds says what it keeps.
//
// A field of S with the tag avro:",omitzero" may be missing: it is a union with
// null whose default is null, as all fields of states in YAML are, a zero value
// is written as null, and null is read as zero. So it can be added later, and a
// job can change from YAML to Go and back.
//
// Whether S can be a state is said by Check.
func State[S any]() *StateType[S] {
	t := reflect.TypeFor[S]()
	st := &StateType[S]{plain: plain(t)}
	if st.err = storable(t, t.String(), nil); st.err == nil {
		st.schema, st.err = stateSchema[S](t)
	}
	return st
}

// stateSchema derives the schema of a state of type t, which is S.
func stateSchema[S any](t reflect.Type) (*avro.Schema, error) {
	s, err := schemaFor[S](stateName)
	if err != nil || t.Kind() != reflect.Struct {
		return s, err
	}
	root := s.Root()
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("avro"), ",")
		if !slices.Contains(strings.Split(options, ","), "omitzero") {
			continue
		}
		if name == "" {
			name = f.Name
		}
		for i := range root.Fields {
			if field := &root.Fields[i]; field.Name == name && field.Type.Type != "union" {
				field.Type = avro.SchemaNode{Type: "union", Branches: []avro.SchemaNode{{Type: "null"}, field.Type}}
				field.HasDefault, field.Default = true, nil
			}
		}
	}
	if s, err = root.Schema(); err != nil {
		return nil, fmt.Errorf("%w: %v has no Avro schema: %w", ErrType, t, err)
	}
	return s, nil
}

// Check says why S cannot be a state; see [Checked].
func (s *StateType[S]) Check() error { return s.err }

// Schema is the Avro schema of what Append writes.
func (s *StateType[S]) Schema() string { return s.schema.String() }

// Append appends the Avro binary encoding of *v to dst.
func (s *StateType[S]) Append(dst []byte, v *S) ([]byte, error) {
	return appendAvro(s.schema, dst, v)
}

// Reader returns the function that decodes what was written with another
// schema, by Avro's resolution rules.
func (s *StateType[S]) Reader(writer string) (func(data []byte, v *S) error, error) {
	w, err := avro.Parse(writer)
	if err != nil {
		return nil, fmt.Errorf("%w: the stored schema does not parse: %w", ErrSchema, err)
	}
	r, err := avro.Resolve(w, s.schema)
	if err != nil {
		return nil, fmt.Errorf("%w: the stored state cannot be read as %v: %w", ErrSchema, reflect.TypeFor[S](), err)
	}
	return func(data []byte, v *S) error { return decodeAvro(r, data, v) }, nil
}

// Copy assigns where that makes an independent copy, and otherwise returns
// false.
func (s *StateType[S]) Copy(dst, src *S) bool {
	if s.plain {
		*dst = *src
	}
	return s.plain
}

// plain says whether assigning a value of type t copies all of it. Strings
// count, since nobody can change one.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}

// whole are struct types that the library stores as one value.
var whole = []reflect.Type{
	reflect.TypeFor[time.Time](),
	reflect.TypeFor[avro.Duration](),
}

// storable checks that no field of a type would be left out. around are the
// structs that t is in.
func storable(t reflect.Type, path string, around []reflect.Type) error {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return storable(t.Elem(), path, around)
	case reflect.Struct:
	default:
		return nil
	}
	for _, known := range append(around, whole...) {
		if t == known {
			return nil
		}
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return fmt.Errorf("%w: %s is a %v, which Avro has no form for; keep its text, a string, in the state", ErrType, path, t)
	}
	around = append(around, t)
	for i := range t.NumField() {
		if err := storableField(t.Field(i), path, around); err != nil {
			return err
		}
	}
	return nil
}

func storableField(f reflect.StructField, path string, around []reflect.Type) error {
	path += "." + f.Name
	name, options, _ := strings.Cut(f.Tag.Get("avro"), ",")
	embedded := f.Anonymous && f.Type.Kind() == reflect.Struct
	switch {
	case name == "-":
		return fmt.Errorf("%w: field %s has the tag avro:\"-\", so it would be lost at a restart; take it out of the state", ErrType, path)
	case !f.IsExported() && !embedded:
		return fmt.Errorf("%w: field %s is not exported, so it would be lost at a restart; export it", ErrType, path)
	case strings.Contains(options, "omitzero") && strings.Contains(options, "default="):
		return fmt.Errorf("%w: field %s has omitzero and a default, so zero would come back as something else; leave omitzero out", ErrType, path)
	}
	return storable(f.Type, path, around)
}
