package expr

import (
	"fmt"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/procd/procd/config/row"
)

// celType is the type that the checker gives to a field.
func (p *provider) celType(t *row.Type, optional bool) *types.Type {
	var c *types.Type
	switch t.Kind {
	case row.Bool:
		c = types.BoolType
	case row.Float, row.Double:
		c = types.DoubleType
	case row.String:
		c = types.StringType
	case row.Bytes:
		c = types.BytesType
	case row.List:
		return types.NewListType(p.celType(t.Elem, false))
	case row.Map:
		return types.NewMapType(types.StringType, p.celType(t.Elem, false))
	case row.Record:
		return p.add(shapeOf(t.Fields)).typ
	default:
		c = types.IntType
	}
	if optional {
		return types.NewNullableType(c)
	}
	return c
}

// rowType is the type of a field that holds the values of an expression.
func (p *provider) rowType(c *types.Type) (t *row.Type, optional bool, err error) {
	switch c.Kind() {
	case types.BoolKind:
		t = row.Of(row.Bool)
	case types.IntKind:
		t = row.Of(row.Long)
	case types.DoubleKind:
		t = row.Of(row.Double)
	case types.StringKind:
		t = row.Of(row.String)
	case types.BytesKind:
		t = row.Of(row.Bytes)
	case types.ListKind:
		elem, _, err := p.rowType(c.Parameters()[0])
		return &row.Type{Kind: row.List, Elem: elem}, false, err
	case types.MapKind:
		if k := c.Parameters()[0].Kind(); k != types.StringKind {
			return nil, false, fmt.Errorf("the keys of a map in a field are strings, not %s", c.Parameters()[0])
		}
		elem, _, err := p.rowType(c.Parameters()[1])
		return &row.Type{Kind: row.Map, Elem: elem}, false, err
	case types.StructKind:
		s, ok := p.shapes[c.TypeName()]
		if !ok {
			return nil, false, unstorable(c)
		}
		return &row.Type{Kind: row.Record, Fields: s.fields}, false, nil
	case types.NullTypeKind:
		return nil, true, fmt.Errorf("null alone has no type")
	default:
		return nil, false, unstorable(c)
	}
	return t, c.IsAssignableType(types.NullType), nil
}

func unstorable(c *types.Type) error {
	switch c.Kind() {
	case types.TimestampKind:
		return fmt.Errorf("a field holds no CEL timestamp; write int(...) * 1000 for milliseconds")
	case types.DurationKind:
		return fmt.Errorf("a field holds no CEL duration; ms(\"5m\") is a number of milliseconds")
	case types.UintKind:
		return fmt.Errorf("a field holds no uint; write int(...)")
	case types.DynKind:
		return fmt.Errorf("the type cannot be told: an empty list or map, or one of mixed values")
	}
	return fmt.Errorf("a field holds no %s", c)
}

// provider tells the checker about records.
type provider struct {
	types.Provider
	shapes map[string]*shape // by the name of their type
}

func newProvider(base types.Provider) *provider {
	return &provider{Provider: base, shapes: map[string]*shape{}}
}

func (p *provider) add(s *shape) *shape {
	if known, ok := p.shapes[s.typ.TypeName()]; ok {
		return known
	}
	p.shapes[s.typ.TypeName()] = s
	for i := range s.fields {
		p.celType(s.fields[i].Type, false) // adds the records inside
	}
	return s
}

// FindStructType finds a record's type by its name.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if s, ok := p.shapes[name]; ok {
		return types.NewTypeTypeWithParam(s.typ), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames lists a record's fields.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	s, ok := p.shapes[name]
	if !ok {
		return p.Provider.FindStructFieldNames(name)
	}
	var names []string
	for i := range s.fields {
		names = append(names, s.fields[i].Name)
	}
	return names, true
}

// FindStructFieldType tells a field's type, and how to read it.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s, ok := p.shapes[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	i, ok := s.index[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:    p.celType(s.fields[i].Type, s.fields[i].Optional),
		IsSet:   func(v any) bool { o, ok := v.(*objectVal); return ok && o.isSet(field) },
		GetFrom: getter(field),
	}, true
}

func getter(field string) ref.FieldGetter {
	return func(v any) (any, error) {
		o, ok := v.(*objectVal)
		if !ok {
			return nil, fmt.Errorf("no such overload: .%s", field)
		}
		return o.get(field)
	}
}
