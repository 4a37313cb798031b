package expr

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/procd/procd/config/row"
)

// compiler turns a checked tree into closures.
type compiler struct {
	scope *Scope
	tree  *ast.AST
	err   error // of planning what is left to cel-go
}

// compile returns the closures of x; what has none runs in cel-go.
func (c *compiler) compile(x ast.Expr) node {
	if n, ok := c.try(x); ok {
		return n
	}
	return c.fallback(x)
}

func (c *compiler) try(x ast.Expr) (node, bool) {
	switch x.Kind() {
	case ast.LiteralKind:
		return literal(x.AsLiteral())
	case ast.IdentKind, ast.SelectKind:
		if n, ok := c.presence(x); ok {
			return n, true
		}
		r, at, ok := c.path(x)
		if !ok {
			return node{}, false
		}
		return slotNode(r.typ, r.optional, at), true
	case ast.CallKind:
		return c.call(x)
	}
	return node{}, false
}

func literal(v ref.Val) (node, bool) {
	switch v := v.(type) {
	case types.Bool:
		return constBool(bool(v)), true
	case types.Int:
		return constWhole(int64(v)), true
	case types.Double:
		return constDouble(float64(v)), true
	case types.String:
		return constText(text, string(v)), true
	case types.Bytes:
		return constText(octets, string(v)), true
	case types.Null:
		return nullNode(), true
	}
	return node{}, false
}

// ref finds the field that x names: alone, or selected from an object.
func (c *compiler) ref(x ast.Expr) (valueRef, bool) {
	switch x.Kind() {
	case ast.IdentKind:
		r, ok := c.scope.fields[x.AsIdent()]
		return r, ok
	case ast.SelectKind:
		sel := x.AsSelect()
		if sel.IsTestOnly() || sel.Operand().Kind() != ast.IdentKind {
			return valueRef{}, false
		}
		sh, ok := c.scope.objects[sel.Operand().AsIdent()]
		if !ok {
			return valueRef{}, false
		}
		i, ok := sh.index[sel.FieldName()]
		if !ok {
			return valueRef{}, false
		}
		return valueRef{sh.fields[i].Type, sh.fields[i].Optional, sh.slots[i]}, true
	}
	return valueRef{}, false
}

// path finds the slot that x names, also inside records.
func (c *compiler) path(x ast.Expr) (valueRef, slotFn, bool) {
	if r, ok := c.ref(x); ok {
		return r, frameSlot(r.slot), true
	}
	if x.Kind() != ast.SelectKind || x.AsSelect().IsTestOnly() {
		return valueRef{}, nil, false
	}
	outer, at, ok := c.path(x.AsSelect().Operand())
	if !ok || outer.typ.Kind != row.Record {
		return valueRef{}, nil, false
	}
	i := row.FieldIndex(outer.typ.Fields, x.AsSelect().FieldName())
	if i < 0 {
		return valueRef{}, nil, false
	}
	f := &outer.typ.Fields[i]
	return valueRef{f.Type, f.Optional, -1}, inside(at, i), true
}

func inside(at slotFn, i int) slotFn {
	return func(f *row.Frame) *row.Slot {
		if s := at(f); i < len(s.L) {
			return &s.L[i]
		}
		return &unset
	}
}

// presence compiles has(x.y).
func (c *compiler) presence(x ast.Expr) (node, bool) {
	if x.Kind() != ast.SelectKind || !x.AsSelect().IsTestOnly() {
		return node{}, false
	}
	sel := x.AsSelect()
	if operand := sel.Operand(); operand.Kind() == ast.IdentKind {
		sh, ok := c.scope.objects[operand.AsIdent()]
		if !ok {
			return node{}, false
		}
		i, ok := sh.index[sel.FieldName()]
		if !ok {
			return node{}, false
		}
		at := frameSlot(sh.slots[i])
		return boolNode(func(f *row.Frame) (bool, *Error) { return !at(f).Null, nil }), true
	}
	outer, at, ok := c.path(sel.Operand())
	if !ok || outer.typ.Kind != row.Record {
		return node{}, false
	}
	i := row.FieldIndex(outer.typ.Fields, sel.FieldName())
	if i < 0 {
		return node{}, false
	}
	at = inside(at, i)
	return boolNode(func(f *row.Frame) (bool, *Error) { return !at(f).Null, nil }), true
}

// fallback plans x in cel-go.
func (c *compiler) fallback(x ast.Expr) node {
	parsed := ast.NewAST(x, c.tree.SourceInfo())
	sub := ast.NewCheckedAST(parsed, c.tree.TypeMap(), c.tree.ReferenceMap())
	prg, err := c.scope.env.PlanProgram(sub, programOptions()...)
	if err != nil {
		if c.err == nil {
			c.err = err
		}
		return nullNode()
	}
	typ := c.tree.GetType(x.ID())
	eval := evaluator(prg, c.scope)
	switch classOf(typ) {
	case boolC:
		return boolNode(func(f *row.Frame) (bool, *Error) { return as[types.Bool, bool](eval(f)) })
	case whole:
		return wholeNode(func(f *row.Frame) (int64, *Error) { return as[types.Int, int64](eval(f)) })
	case double:
		return doubleNode(func(f *row.Frame) (float64, *Error) { return as[types.Double, float64](eval(f)) })
	case text:
		return textNode(text, func(f *row.Frame) (string, *Error) { return as[types.String, string](eval(f)) })
	case octets:
		return textNode(octets, func(f *row.Frame) (string, *Error) { return asBytes(eval(f)) })
	}
	return c.composite(typ, eval)
}

func (c *compiler) composite(typ *types.Type, eval func(*row.Frame) (ref.Val, *Error)) node {
	t, _, err := c.scope.types.rowType(typ)
	if err != nil {
		t = emptyType(typ)
	}
	return node{store: func(f *row.Frame, dst *row.Slot) error {
		v, err := eval(f)
		if err == nil {
			err = fromVal(t, v, dst)
		}
		if err != nil {
			return err
		}
		return nil
	}}
}

// emptyType is what an expression is stored as whose type no field can have:
// only the literals [] and {} get that far, see Assignable.
func emptyType(c *types.Type) *row.Type {
	if c.Kind() == types.MapKind {
		return &row.Type{Kind: row.Map, Elem: row.Of(row.Long)}
	}
	return &row.Type{Kind: row.List, Elem: row.Of(row.Long)}
}

func evaluator(prg cel.Program, s *Scope) func(*row.Frame) (ref.Val, *Error) {
	return func(f *row.Frame) (ref.Val, *Error) {
		v, _, err := prg.Eval(&activation{scope: s, frame: f})
		if err != nil {
			return nil, fromCEL(err)
		}
		return v, nil
	}
}

// as unwraps a value that the checker says is a W or null.
func as[W interface {
	ref.Val
	~bool | ~int64 | ~float64 | ~string
}, T bool | int64 | float64 | string](v ref.Val, err *Error) (t T, _ *Error) {
	if err != nil {
		return t, err
	}
	w, ok := v.(W)
	if !ok {
		return t, notA(v)
	}
	return any(unwrap(w)).(T), nil
}

func unwrap(v any) any {
	switch v := v.(type) {
	case types.Bool:
		return bool(v)
	case types.Int:
		return int64(v)
	case types.Double:
		return float64(v)
	case types.String:
		return string(v)
	}
	return nil
}

func asBytes(v ref.Val, err *Error) (string, *Error) {
	if err != nil {
		return "", err
	}
	b, ok := v.(types.Bytes)
	if !ok {
		return "", notA(v)
	}
	return string(b), nil
}

func notA(v ref.Val) *Error {
	if _, ok := v.(types.Null); ok {
		return isNull
	}
	return &Error{Msg: "the value is a " + v.Type().TypeName()}
}

// activation gives cel-go the values it asks for, when it asks.
type activation struct {
	scope *Scope
	frame *row.Frame
}

// ResolveName finds a field or an object.
func (a *activation) ResolveName(name string) (any, bool) {
	if r, ok := a.scope.fields[name]; ok {
		return toVal(r.typ, r.optional, &a.frame.Slots[r.slot]), true
	}
	if sh, ok := a.scope.objects[name]; ok {
		return &objectVal{shape: sh, frame: a.frame}, true
	}
	return nil, false
}

// Parent is none.
func (a *activation) Parent() cel.Activation { return nil }
