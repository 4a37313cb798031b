package config

import (
	"strings"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
)

// expression compiles a scalar of the file; nil after a mistake.
func (f *flow) expression(n *yamlpos.Node, at string, sc *expr.Scope) *expr.Expr {
	switch {
	case n.Kind != yamlpos.Scalar:
		f.errorAt(n, at, "an expression that begins with { or [ needs quotes around it", "an expression is expected here, not %s", n.Kind)
		return nil
	case n.Style == yamlpos.Absent || strings.TrimSpace(n.Text) == "":
		f.errorAt(n, at, "", "an expression is expected here")
		return nil
	case n.Style == yamlpos.Plain && n.Comment != "":
		f.errorPos(n.Pos(), at, n.Text+" "+n.Comment,
			"write the comment on a line of its own; if # belongs to the expression, quote it: "+quoted(n.Text+" "+n.Comment),
			"YAML reads what follows # as a comment")
		return nil
	}
	e, issues := sc.Compile(n.Text)
	for _, i := range issues {
		if f.unsure && !strings.HasPrefix(i.Msg, "unexpected") {
			continue // it follows from an earlier mistake
		}
		hint := i.Hint
		if strings.HasPrefix(i.Msg, "the expression ends") && n.Style == yamlpos.Plain {
			hint = "if YAML has cut it off at a comma, a colon or a number sign, put it into quotes"
		}
		f.errorPos(n.At(i.Offset), at, n.Text, hint, "%s", i.Msg)
	}
	return e
}

// condition compiles an expression that is true or false.
func (f *flow) condition(n *yamlpos.Node, at string, sc *expr.Scope) *expr.Expr {
	e := f.expression(n, at, sc)
	if e != nil && !e.IsBool() {
		f.errorAt(n, at, "", "a condition is true or false; this is %s", typeText(e))
		return nil
	}
	return e
}

// message compiles an expression that is a text.
func (f *flow) message(n *yamlpos.Node, at string, sc *expr.Scope) *expr.Expr {
	e := f.expression(n, at, sc)
	if e != nil && (e.Type == nil || e.Type.Kind != row.String) {
		f.errorAt(n, at, "write string(x), or put text into quotes twice: \"'text'\"", "a text is expected here; this is %s", typeText(e))
		return nil
	}
	return e
}

func typeText(e *expr.Expr) string {
	switch {
	case e.Storable() != nil:
		return "something else: " + e.Storable().Error()
	case e.Type == nil:
		return "null"
	}
	return e.Type.String()
}

// value is what a field is set to: an expression, or a map or list of them.
type value struct {
	node *yamlpos.Node
	at   string
	e    *expr.Expr // nil for a map or list
	t    *row.Type  // nil for null
	opt  bool
	slot int // of the field that it is nothing but, or -1
	eval func(fr *row.Frame, dst *row.Slot) error
}

// value reads what belongs to the key name; a name alone means itself.
func (f *flow) value(name, n *yamlpos.Node, at string, sc *expr.Scope) *value {
	switch {
	case n.Kind == yamlpos.Map:
		return f.mapValue(n, at, sc)
	case n.Kind == yamlpos.List:
		return f.listValue(n, at, sc)
	case n.Style == yamlpos.Absent:
		return f.itself(name, at, sc)
	}
	e := f.expression(n, at, sc)
	if e == nil {
		return nil
	}
	return exprValue(n, at, e)
}

func exprValue(n *yamlpos.Node, at string, e *expr.Expr) *value {
	return &value{node: n, at: at, e: e, t: e.Type, opt: e.Optional, slot: e.Slot, eval: e.Eval}
}

func (f *flow) itself(name *yamlpos.Node, at string, sc *expr.Scope) *value {
	if e, ok := sc.Field(name.Text); ok {
		return exprValue(name, at, e)
	}
	if !f.unsure && identExpr.MatchString(name.Text) {
		hint := f.nearField(name.Text, f.fields)
		f.errorAt(name, at, hint, "there is no field %q", name.Text)
	}
	return nil
}

// mapValue is a record made of expressions.
func (f *flow) mapValue(n *yamlpos.Node, at string, sc *expr.Scope) *value {
	fields, values := f.valueMap(n, at, sc)
	if values == nil {
		return nil
	}
	evals := make([]func(*row.Frame, *row.Slot) error, len(values))
	for i, v := range values {
		evals[i] = v.into(fields[i].Type, fields[i].Optional)
	}
	return &value{node: n, at: at, t: &row.Type{Kind: row.Record, Fields: fields}, slot: -1, eval: func(fr *row.Frame, dst *row.Slot) error {
		out := make([]row.Slot, len(evals))
		for i := range evals {
			if err := evals[i](fr, &out[i]); err != nil {
				return err
			}
		}
		*dst = row.Slot{L: out}
		return nil
	}}
}

// listValue is a list made of expressions, all of one type.
func (f *flow) listValue(n *yamlpos.Node, at string, sc *expr.Scope) *value {
	t := &row.Type{Kind: row.List}
	var evals []func(*row.Frame, *row.Slot) error
	ok := true
	for _, item := range n.Items {
		v := f.value(item, item, at, sc)
		switch {
		case v == nil || !f.storable(v):
			ok = false
		case t.Elem == nil:
			t.Elem = v.t
			fallthrough
		default:
			if err := v.assignable(t.Elem); err != nil {
				f.errorAt(item, at, "all elements of a list have one type", "%v", err)
				ok = false
				continue
			}
			evals = append(evals, v.into(t.Elem, false))
		}
	}
	if !ok {
		return nil
	}
	if t.Elem == nil {
		t.Elem = row.Of(row.String)
	}
	return &value{node: n, at: at, t: t, slot: -1, eval: func(fr *row.Frame, dst *row.Slot) error {
		out := make([]row.Slot, len(evals))
		for i := range evals {
			if err := evals[i](fr, &out[i]); err != nil {
				return err
			}
		}
		*dst = row.Slot{L: out}
		return nil
	}}
}

// storable reports a value that no field can hold.
func (f *flow) storable(v *value) bool {
	if v.e == nil {
		return true
	}
	if err := v.e.Storable(); err != nil {
		f.errorAt(v.node, v.at, "", "%v", err)
		return false
	}
	return v.t != nil
}

// assignable says why v cannot be stored in a field of type t, or nil.
func (v *value) assignable(t *row.Type) error {
	if v.e != nil {
		return v.e.Assignable(t)
	}
	return expr.Assignable(v.t, t)
}

// into is what stores v in a field of type t.
func (v *value) into(t *row.Type, optional bool) func(*row.Frame, *row.Slot) error {
	if v.e != nil {
		return v.e.Evaluator(t, optional)
	}
	shape := expr.Reshape(v.t, t)
	if shape == nil {
		return v.eval
	}
	return func(fr *row.Frame, dst *row.Slot) error {
		if err := v.eval(fr, dst); err != nil {
			return err
		}
		shape(dst)
		return nil
	}
}

// valueMap reads a map of names and values, and tells the fields that they
// make. It is nil after a mistake.
func (f *flow) valueMap(n *yamlpos.Node, at string, sc *expr.Scope) ([]row.Field, []*value) {
	if n.Kind != yamlpos.Map {
		f.errorAt(n, at, "write {name: expression, ...}", "a map of names and expressions is expected here, not %s", orNothing(n))
		return nil, nil
	}
	ok := true
	fields, values := []row.Field{}, []*value{}
	for _, e := range n.Entries {
		name := e.Key.Text
		if !f.fieldName(e.Key, name, at) {
			ok = false
			continue
		}
		if row.FieldIndex(fields, name) >= 0 {
			f.errorAt(e.Key, at, "", "the field %q is here twice", name)
			ok = false
			continue
		}
		v := f.value(e.Key, e.Value, join(at, name), sc)
		if v == nil || !f.storable(v) {
			ok = false
			continue
		}
		fields = append(fields, row.Field{Name: name, Type: v.t, Optional: v.opt})
		values = append(values, v)
	}
	if !ok {
		return nil, nil
	}
	return fields, values
}

// assign fills a slot.
type assign struct {
	where string
	slot  int
	eval  func(*row.Frame, *row.Slot) error
}

func run(assigns []assign, fr *row.Frame) error {
	for i := range assigns {
		a := &assigns[i]
		if err := a.eval(fr, &fr.Slots[a.slot]); err != nil {
			return &stepError{a.where, err}
		}
	}
	return nil
}
