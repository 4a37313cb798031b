package row

import (
	"fmt"
	"strings"
)

// Kind is the kind of a field's type.
type Kind uint8

// The kinds, in the order of the language's documentation.
const (
	Bool Kind = iota
	Int
	Long
	Float
	Double
	String
	Bytes
	Timestamp
	List
	Map    // from string
	Record // of named fields
)

var kindNames = [...]string{"bool", "int", "long", "float", "double", "string", "bytes", "timestamp", "list", "map", "record"}

// String is the name of the kind in job files.
func (k Kind) String() string { return kindNames[k] }

// KindNamed returns the scalar kind of this name.
func KindNamed(name string) (Kind, bool) {
	for k := Bool; k <= Timestamp; k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// Whole says whether expressions see the kind as a 64-bit integer.
func (k Kind) Whole() bool { return k == Int || k == Long || k == Timestamp }

// Real says whether expressions see the kind as a double.
func (k Kind) Real() bool { return k == Float || k == Double }

// Scalar says whether a value of the kind needs no further slots.
func (k Kind) Scalar() bool { return k <= Timestamp }

// Type is the type of a field.
type Type struct {
	Kind   Kind
	Elem   *Type   // of a List or Map
	Fields []Field // of a Record
}

// Field is one named field.
type Field struct {
	Name     string
	Type     *Type
	Optional bool   // may be missing or null
	Wire     string // its name in the data; empty: Name
}

// OnWire is the field's name in the data.
func (f *Field) OnWire() string {
	if f.Wire != "" {
		return f.Wire
	}
	return f.Name
}

// Of returns the type of a scalar kind.
func Of(k Kind) *Type { return &scalarTypes[k] }

var scalarTypes = func() (t [Timestamp + 1]Type) {
	for k := range t {
		t[k].Kind = Kind(k)
	}
	return t
}()

// String writes the type as in a job file.
func (t *Type) String() string {
	switch t.Kind {
	case List:
		return "[" + t.Elem.String() + "]"
	case Map:
		return "{string: " + t.Elem.String() + "}"
	case Record:
		return FieldsText(t.Fields)
	}
	return t.Kind.String()
}

// FieldsText writes fields as in a job file.
func FieldsText(fields []Field) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		mark := ""
		if f.Optional {
			mark = "?"
		}
		parts[i] = fmt.Sprintf("%s%s: %s", f.Name, mark, f.Type)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Equal says whether two types are the same, names in the data aside.
func (t *Type) Equal(o *Type) bool {
	if t.Kind != o.Kind {
		return false
	}
	switch t.Kind {
	case List, Map:
		return t.Elem.Equal(o.Elem)
	case Record:
		if len(t.Fields) != len(o.Fields) {
			return false
		}
		for i := range t.Fields {
			a, b := &t.Fields[i], &o.Fields[i]
			if a.Name != b.Name || a.Optional != b.Optional || !a.Type.Equal(b.Type) {
				return false
			}
		}
	}
	return true
}

// FieldIndex returns the index of the field of this name, or -1.
func FieldIndex(fields []Field, name string) int {
	for i := range fields {
		if fields[i].Name == name {
			return i
		}
	}
	return -1
}
