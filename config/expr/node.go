package expr

import (
	"cel.dev/cel-go/common/types"

	"github.com/procd/procd/config/row"
)

// The closures. Each returns a value or an *Error, of which isNull says that
// the value is null.
type (
	boolFn   func(f *row.Frame) (bool, *Error)
	wholeFn  func(f *row.Frame) (int64, *Error)
	doubleFn func(f *row.Frame) (float64, *Error)
	textFn   func(f *row.Frame) (string, *Error)
)

// class is which of a node's closures counts.
type class uint8

const (
	other  class = iota // only store
	null                // the literal null
	boolC               // b
	whole               // n
	double              // d
	text                // s
	octets              // s too
)

// node is a compiled part of an expression. Besides store exactly the closure
// of its class is set.
type node struct {
	class class
	b     boolFn
	n     wholeFn
	d     doubleFn
	s     textFn
	store func(f *row.Frame, dst *row.Slot) error
}

// classOf is the class of the values of a type.
func classOf(t *types.Type) class {
	if t == nil {
		return other
	}
	switch t.Kind() {
	case types.BoolKind:
		return boolC
	case types.IntKind:
		return whole
	case types.DoubleKind:
		return double
	case types.StringKind:
		return text
	case types.BytesKind:
		return octets
	case types.NullTypeKind:
		return null
	}
	return other
}

func classOfRow(k row.Kind) class {
	switch {
	case k == row.Bool:
		return boolC
	case k.Whole():
		return whole
	case k.Real():
		return double
	case k == row.String:
		return text
	case k == row.Bytes:
		return octets
	}
	return other
}

func boolNode(b boolFn) node {
	return node{class: boolC, b: b, store: func(f *row.Frame, dst *row.Slot) error {
		v, err := b(f)
		if err != nil {
			return orNull(err, dst)
		}
		dst.SetBool(v)
		return nil
	}}
}

func wholeNode(n wholeFn) node {
	return node{class: whole, n: n, store: func(f *row.Frame, dst *row.Slot) error {
		v, err := n(f)
		if err != nil {
			return orNull(err, dst)
		}
		dst.SetWhole(v)
		return nil
	}}
}

func doubleNode(d doubleFn) node {
	return node{class: double, d: d, store: func(f *row.Frame, dst *row.Slot) error {
		v, err := d(f)
		if err != nil {
			return orNull(err, dst)
		}
		dst.SetDouble(v)
		return nil
	}}
}

func textNode(c class, s textFn) node {
	return node{class: c, s: s, store: func(f *row.Frame, dst *row.Slot) error {
		v, err := s(f)
		if err != nil {
			return orNull(err, dst)
		}
		dst.SetString(v)
		return nil
	}}
}

func nullNode() node {
	return node{class: null, store: func(_ *row.Frame, dst *row.Slot) error {
		dst.SetNull()
		return nil
	}}
}

// orNull stores null where that is what err says.
func orNull(err *Error, dst *row.Slot) error {
	if err == isNull {
		dst.SetNull()
		return nil
	}
	return err
}

// slotFn finds a slot.
type slotFn func(f *row.Frame) *row.Slot

func frameSlot(i int) slotFn { return func(f *row.Frame) *row.Slot { return &f.Slots[i] } }

// slotNode reads a slot. Where the field may not be null a null one was never
// set, and its zero is read.
func slotNode(t *row.Type, optional bool, at slotFn) node {
	var n node
	switch c := classOfRow(t.Kind); {
	case c == boolC:
		n = boolNode(func(f *row.Frame) (bool, *Error) { s := at(f); return s.N != 0, nullIf(s.Null && optional) })
	case c == whole:
		n = wholeNode(func(f *row.Frame) (int64, *Error) { s := at(f); return s.N, nullIf(s.Null && optional) })
	case c == double:
		n = doubleNode(func(f *row.Frame) (float64, *Error) { s := at(f); return s.Double(), nullIf(s.Null && optional) })
	case c == text || c == octets:
		n = textNode(c, func(f *row.Frame) (string, *Error) { s := at(f); return s.S, nullIf(s.Null && optional) })
	default:
		// A missing list, map or record reads as empty, so null it is not.
		n = node{store: func(f *row.Frame, dst *row.Slot) error { *dst = *at(f); return nil }}
	}
	return n
}

func nullIf(b bool) *Error {
	if b {
		return isNull
	}
	return nil
}

// Constants.

func constBool(v bool) node { return boolNode(func(*row.Frame) (bool, *Error) { return v, nil }) }
func constWhole(v int64) node {
	return wholeNode(func(*row.Frame) (int64, *Error) { return v, nil })
}
func constDouble(v float64) node {
	return doubleNode(func(*row.Frame) (float64, *Error) { return v, nil })
}
func constText(c class, v string) node {
	return textNode(c, func(*row.Frame) (string, *Error) { return v, nil })
}
