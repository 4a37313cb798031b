package codec

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
)

// shape is how values of a Go type are as JSON: what there is to know of the
// plain kinds, which are decoded and encoded here. All else is the library's.
type shape struct {
	typ     reflect.Type
	kind    reflect.Kind // Invalid: the library's
	elem    *shape       // of a pointer
	members []member     // of a struct
	names   jsonbytes.Names
	encodes bool // a struct: false if it is only decoded here
}

// member is a field of a struct.
type member struct {
	offset uintptr
	shape  *shape
	name   []byte // with its quotes and colon
	zero   bool   // left out if zero
	isZero bool   // zero is what the method IsZero says
	empty  bool   // left out if it is null, "", {} or []
}

// maxMembers of a struct; larger ones are the library's.
const maxMembers = 64

// shapes are all shapes so far.
var shapes = struct {
	sync.Mutex
	of map[reflect.Type]*shape
}{of: make(map[reflect.Type]*shape)}

// shapeOf returns the shape of a type.
func shapeOf(t reflect.Type) *shape {
	shapes.Lock()
	defer shapes.Unlock()
	return newShape(t)
}

func newShape(t reflect.Type) *shape {
	if s := shapes.of[t]; s != nil {
		return s
	}
	s := &shape{typ: t}
	shapes.of[t] = s // already now, for types within themselves
	if special(t) {
		return s
	}
	switch k := t.Kind(); k {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.kind = k
	case reflect.Pointer:
		s.elem, s.kind = newShape(t.Elem()), k
	case reflect.Struct:
		if s.addMembers() {
			s.kind = k
		}
	}
	return s
}

// methods are those by which a type says itself how it is as JSON.
var methods = []reflect.Type{
	reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[json.UnmarshalerFrom](),
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextAppender](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

var isZeroer = reflect.TypeFor[interface{ IsZero() bool }]()

// special says whether the library has a rule for just this type. What is true
// of the type that a pointer points to comes up when that is looked at.
func special(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Duration]() || t == reflect.TypeFor[time.Time]() ||
		t.Kind() != reflect.Pointer && slices.ContainsFunc(methods, reflect.PointerTo(t).Implements)
}

// addMembers is false if the library has to do with the struct.
func (s *shape) addMembers() bool {
	var names []string
	plain := false
	s.encodes = true
	for i := range s.typ.NumField() {
		f := s.typ.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		switch {
		case tag == "-" || !f.IsExported() && !tagged && !f.Anonymous:
			continue
		case f.Anonymous || !f.IsExported():
			return false
		}
		m := member{offset: f.Offset, shape: newShape(f.Type)}
		name, ok := m.read(tag)
		if name == "" {
			name = f.Name
		}
		if !ok || slices.Contains(names, name) {
			return false
		}
		if m.zero && reflect.PointerTo(f.Type).Implements(isZeroer) {
			m.isZero = true
		} else if m.zero && f.Type.Implements(isZeroer) { // a pointer or an interface, which can be nil
			s.encodes = false
		}
		names = append(names, name)
		quoted, _ := jsontext.AppendQuote(nil, name)
		m.name = append(quoted, ':')
		s.members = append(s.members, m)
		plain = plain || m.shape.kind != reflect.Invalid
	}
	s.names = jsonbytes.NewNames(names)
	return plain && len(names) <= maxMembers
}

// read reads a field's tag. It is not ok if only the library knows all of it.
func (m *member) read(tag string) (name string, ok bool) {
	name, rest, more := strings.Cut(tag, ",")
	if !utf8.ValidString(name) || strings.ContainsAny(name, "\\'\"`") {
		return "", false
	}
	for more {
		var option string
		option, rest, more = strings.Cut(rest, ",")
		switch {
		case option == "omitzero" && !m.zero:
			m.zero = true
		case option == "omitempty" && !m.empty:
			m.empty = true
		default:
			return "", false
		}
	}
	return name, true
}
