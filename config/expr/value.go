package expr

import (
	"fmt"
	"math"
	"reflect"
	"sort"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/procd/procd/config/row"
)

func doubleBits(d float64) uint64 { return math.Float64bits(d) }

// toVal is the slot as cel-go sees it. A null slot of a field that may not be
// null was never set: it reads as zero, false or empty.
func toVal(t *row.Type, optional bool, s *row.Slot) ref.Val {
	if s.Null && optional && t.Kind.Scalar() {
		return types.NullValue
	}
	switch t.Kind {
	case row.Bool:
		return types.Bool(s.Bool())
	case row.Float, row.Double:
		return types.Double(s.Double())
	case row.String:
		return types.String(s.S)
	case row.Bytes:
		return types.Bytes(s.S)
	case row.List:
		elems := make([]ref.Val, len(s.L))
		for i := range s.L {
			elems[i] = toVal(t.Elem, false, &s.L[i])
		}
		return types.NewRefValList(types.DefaultTypeAdapter, elems)
	case row.Map:
		entries := make(map[ref.Val]ref.Val, len(s.L))
		for i := range s.L {
			entries[types.String(s.L[i].S)] = toVal(t.Elem, false, &s.L[i].L[0])
		}
		return newSortedMap(types.NewRefValMap(types.DefaultTypeAdapter, entries))
	case row.Record:
		return &objectVal{shape: shapeOf(t.Fields), slots: s.L}
	}
	return types.Int(s.N)
}

// fromVal stores a value of cel-go's into a slot of type t.
func fromVal(t *row.Type, v ref.Val, s *row.Slot) *Error {
	switch x := v.(type) {
	case types.Null:
		s.SetNull()
		return nil
	case types.Bool:
		s.SetBool(bool(x))
	case types.Int:
		s.SetWhole(int64(x))
	case types.Double:
		s.SetDouble(float64(x))
	case types.String:
		s.SetString(string(x))
	case types.Bytes:
		s.SetString(string(x))
	case *objectVal:
		return fromObject(t, x, s)
	case traits.Mapper:
		return fromMap(t, x, s)
	case traits.Lister:
		return fromList(t, x, s)
	default:
		return &Error{Msg: fmt.Sprintf("the value is a %s, which no field can hold", v.Type().TypeName())}
	}
	return nil
}

func fromList(t *row.Type, l traits.Lister, s *row.Slot) *Error {
	elems := []row.Slot{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		var e row.Slot
		if err := fromElement(t.Elem, it.Next(), &e); err != nil {
			return err
		}
		elems = append(elems, e)
	}
	*s = row.Slot{L: elems}
	return nil
}

func fromElement(t *row.Type, v ref.Val, s *row.Slot) *Error {
	if err := fromVal(t, v, s); err != nil {
		return err
	}
	if s.Null {
		return &Error{Msg: "null inside a list or map"}
	}
	return nil
}

func fromMap(t *row.Type, m traits.Mapper, s *row.Slot) *Error {
	entries := []row.Slot{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		e := row.Slot{L: make([]row.Slot, 1)}
		name, ok := key.(types.String)
		if !ok {
			return &Error{Msg: "a map whose keys are no strings"}
		}
		e.S = string(name)
		if err := fromElement(t.Elem, m.Get(key), &e.L[0]); err != nil {
			return err
		}
		entries = append(entries, e)
	}
	*s = row.Slot{L: row.SortEntries(entries)}
	return nil
}

func fromObject(t *row.Type, o *objectVal, s *row.Slot) *Error {
	if o.frame == nil && o.slots == nil {
		s.SetNull()
		return nil
	}
	fields := make([]row.Slot, len(t.Fields))
	for i := range t.Fields {
		j, ok := o.shape.index[t.Fields[i].Name]
		if !ok {
			fields[i].SetNull()
			continue
		}
		fields[i] = *o.slot(j)
	}
	*s = row.Slot{L: fields}
	return nil
}

// shape is the fields of an object, with the type that the checker knows it by.
type shape struct {
	typ    *types.Type
	fields []row.Field
	slots  []int // in the frame; nil for a record inside a value
	index  map[string]int
}

// shapeOf makes the shape of a record type. Its name is its text, so that equal
// records have equal types wherever they come from.
func shapeOf(fields []row.Field) *shape {
	s := &shape{typ: types.NewObjectType(row.FieldsText(fields), traits.FieldTesterType|traits.IndexerType), fields: fields, index: map[string]int{}}
	for i := range fields {
		s.index[fields[i].Name] = i
	}
	return s
}

// objectVal is a record as a value: one of the scope's, whose fields are slots
// of the frame, or one inside another value.
type objectVal struct {
	shape *shape
	frame *row.Frame
	slots []row.Slot
}

var unset = row.Slot{Null: true}

func (o *objectVal) slot(i int) *row.Slot {
	if o.frame != nil {
		return &o.frame.Slots[o.shape.slots[i]]
	}
	if i < len(o.slots) {
		return &o.slots[i]
	}
	return &unset // the record is missing: it reads as empty
}

func (o *objectVal) get(name string) (any, error) {
	i, ok := o.shape.index[name]
	if !ok {
		return nil, fmt.Errorf("no such key: %s", name)
	}
	f := &o.shape.fields[i]
	return toVal(f.Type, f.Optional, o.slot(i)), nil
}

func (o *objectVal) isSet(name string) bool {
	i, ok := o.shape.index[name]
	return ok && !o.slot(i).Null
}

// ConvertToNative is never needed: values leave through fromVal.
func (o *objectVal) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a record is no %v", t)
}

// ConvertToType converts to the record's own type and to type.
func (o *objectVal) ConvertToType(t ref.Type) ref.Val {
	switch {
	case t == types.TypeType:
		return o.shape.typ
	case t.TypeName() == o.shape.typ.TypeName():
		return o
	}
	return types.NewErr("type conversion error from a record to '%s'", t)
}

// Equal compares field by field.
func (o *objectVal) Equal(other ref.Val) ref.Val {
	p, ok := other.(*objectVal)
	if !ok || len(p.shape.fields) != len(o.shape.fields) {
		return types.False
	}
	for i := range o.shape.fields {
		f, g := &o.shape.fields[i], &p.shape.fields[i]
		if f.Name != g.Name || o.slot(i).Null != p.slot(i).Null {
			return types.False
		}
		if eq := types.Equal(toVal(f.Type, f.Optional, o.slot(i)), toVal(g.Type, g.Optional, p.slot(i))); eq != types.True {
			return types.False
		}
	}
	return types.True
}

// Type is the record's type.
func (o *objectVal) Type() ref.Type { return o.shape.typ }

// Value is the object itself: the provider's getters read it.
func (o *objectVal) Value() any { return o }

// Get reads a field by name.
func (o *objectVal) Get(name ref.Val) ref.Val {
	v, err := o.get(fmt.Sprint(name.Value()))
	if err != nil {
		return types.WrapErr(err)
	}
	return v.(ref.Val)
}

// IsSet says whether a field has a value.
func (o *objectVal) IsSet(name ref.Val) ref.Val { return types.Bool(o.isSet(fmt.Sprint(name.Value()))) }

// sortedMap is a map that is walked in the order of its keys.
type sortedMap struct {
	traits.Mapper
	keys []ref.Val
}

func newSortedMap(m traits.Mapper) ref.Val {
	if s, ok := m.(*sortedMap); ok {
		return s
	}
	s := &sortedMap{Mapper: m}
	for it := m.Iterator(); it.HasNext() == types.True; {
		s.keys = append(s.keys, it.Next())
	}
	sort.Slice(s.keys, func(i, j int) bool { return keyLess(s.keys[i], s.keys[j]) })
	return s
}

// keyLess orders keys: of different types by the type's name, else by value.
func keyLess(a, b ref.Val) bool {
	if n := strings.Compare(a.Type().TypeName(), b.Type().TypeName()); n != 0 {
		return n < 0
	}
	if c, ok := a.(traits.Comparer); ok {
		return c.Compare(b) == types.IntNegOne
	}
	return false
}

// Iterator walks the keys in order.
func (m *sortedMap) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, m.keys).Iterator()
}

// Equal compares with any map.
func (m *sortedMap) Equal(other ref.Val) ref.Val {
	if s, ok := other.(*sortedMap); ok {
		other = s.Mapper
	}
	return m.Mapper.Equal(other)
}
