package expr

import (
	"fmt"

	"github.com/procd/procd/config/row"
)

// Expr is a compiled expression. It is immutable.
type Expr struct {
	// Type is the type of a field that holds the expression's values, nil
	// where it has none that a field can hold: see [Expr.Storable].
	Type     *row.Type
	Optional bool   // the value may be null
	Source   string // the text
	Slot     int    // of the field that the expression is nothing but, or -1

	node    node
	typeErr error
}

// Storable says why the expression's value cannot be a field's, or nil.
func (e *Expr) Storable() error { return e.typeErr }

// IsBool says whether the expression is a condition.
func (e *Expr) IsBool() bool { return e.typeErr == nil && e.Type != nil && e.Type.Kind == row.Bool }

// Bool evaluates a condition.
func (e *Expr) Bool(f *row.Frame) (bool, error) {
	v, err := e.node.b(f)
	if err != nil {
		if err == isNull {
			err = errNotBool
		}
		return false, err
	}
	return v, nil
}

// Text evaluates an expression whose type is string.
func (e *Expr) Text(f *row.Frame) (string, error) {
	v, err := e.node.s(f)
	if err != nil {
		if err == isNull {
			err = errOperand
		}
		return "", err
	}
	return v, nil
}

// Eval stores the expression's value, which may be null, in dst. Strings in it
// are valid as long as the record is.
func (e *Expr) Eval(f *row.Frame, dst *row.Slot) error {
	if err := e.node.store(f, dst); err != nil {
		return err
	}
	return nil
}

// Evaluator stores what an expression evaluates to as a field of type t, which
// must be able to hold it; see [Assignable].
func (e *Expr) Evaluator(t *row.Type, optional bool) func(f *row.Frame, dst *row.Slot) error {
	store := e.node.store
	check := t.Kind == row.Int && (e.Type == nil || e.Type.Kind != row.Int) || t.Kind == row.Float && (e.Type == nil || e.Type.Kind != row.Float)
	return func(f *row.Frame, dst *row.Slot) error {
		if err := store(f, dst); err != nil {
			return err
		}
		if dst.Null {
			if !optional && t.Kind.Scalar() {
				return row.ErrNull
			}
			return nil
		}
		if check {
			return row.CheckRange(t.Kind, dst)
		}
		return nil
	}
}

// Assignable says why values of e cannot be stored in a field of type t, or nil.
func (e *Expr) Assignable(t *row.Type) error {
	if e.Type == nil && e.Optional { // null alone
		return nil
	}
	if e.typeErr != nil {
		if emptyLiteral(e, t) {
			return nil
		}
		return e.typeErr
	}
	if !assignable(e.Type, t) {
		return fmt.Errorf("the value is %s, the field %s", e.Type, t)
	}
	return nil
}

// emptyLiteral lets [] and {} be any list and map.
func emptyLiteral(e *Expr, t *row.Type) bool {
	return e.Source == "[]" && t.Kind == row.List || e.Source == "{}" && t.Kind == row.Map
}

func assignable(from, to *row.Type) bool {
	switch {
	case from.Kind.Whole():
		return to.Kind.Whole()
	case from.Kind.Real():
		return to.Kind.Real()
	case from.Kind != to.Kind:
		return false
	case from.Kind == row.List, from.Kind == row.Map:
		return assignable(from.Elem, to.Elem)
	case from.Kind == row.Record:
		for _, f := range from.Fields {
			i := row.FieldIndex(to.Fields, f.Name)
			if i < 0 || !assignable(f.Type, to.Fields[i].Type) {
				return false
			}
		}
	}
	return true
}
