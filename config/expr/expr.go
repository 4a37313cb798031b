package expr

import (
	"fmt"
	"slices"

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
	return e.node.store(f, dst)
}

// Evaluator stores what an expression evaluates to as a field of type t, which
// must be able to hold it; see [Assignable].
func (e *Expr) Evaluator(t *row.Type, optional bool) func(f *row.Frame, dst *row.Slot) error {
	store, shape := e.node.store, Reshape(e.Type, t)
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
		if shape != nil {
			shape(dst)
		}
		if check {
			return row.CheckRange(t.Kind, dst)
		}
		return nil
	}
}

// Reshape returns what puts the fields of records of one type into the order of
// another to which it is assignable, or nil where they are in that order.
func Reshape(from, to *row.Type) func(*row.Slot) {
	if from == nil || from.Kind != to.Kind {
		return nil
	}
	switch to.Kind {
	case row.List:
		if elem := Reshape(from.Elem, to.Elem); elem != nil {
			return func(s *row.Slot) { s.L = reshaped(s.L, elem) }
		}
	case row.Map:
		if elem := Reshape(from.Elem, to.Elem); elem != nil {
			return func(s *row.Slot) {
				s.L = reshaped(s.L, func(e *row.Slot) { e.L = reshaped(e.L, elem) })
			}
		}
	case row.Record:
		return reshapeRecord(from, to)
	}
	return nil
}

// reshaped changes copies: slots are handed on by assignment.
func reshaped(l []row.Slot, change func(*row.Slot)) []row.Slot {
	out := slices.Clone(l)
	for i := range out {
		change(&out[i])
	}
	return out
}

func reshapeRecord(from, to *row.Type) func(*row.Slot) {
	source := make([]int, len(to.Fields))
	inner := make([]func(*row.Slot), len(to.Fields))
	same := len(from.Fields) == len(to.Fields)
	for i := range to.Fields {
		j := row.FieldIndex(from.Fields, to.Fields[i].Name)
		source[i] = j
		if j >= 0 {
			inner[i] = Reshape(from.Fields[j].Type, to.Fields[i].Type)
		}
		same = same && i == j && inner[i] == nil
	}
	if same {
		return nil
	}
	return func(s *row.Slot) {
		out := make([]row.Slot, len(source))
		for i, j := range source {
			if j < 0 || j >= len(s.L) {
				out[i].SetNull()
				continue
			}
			out[i] = s.L[j]
			if inner[i] != nil {
				inner[i](&out[i])
			}
		}
		s.L = out
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
	return Assignable(e.Type, t)
}

// emptyLiteral lets [] and {} be any list and map.
func emptyLiteral(e *Expr, t *row.Type) bool {
	return e.Source == "[]" && t.Kind == row.List || e.Source == "{}" && t.Kind == row.Map
}

// Assignable says why values of one type cannot be stored in a field of another,
// or nil.
func Assignable(from, to *row.Type) error {
	if !assignable(from, to) {
		return fmt.Errorf("the value is %s, the field %s", from, to)
	}
	return nil
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
