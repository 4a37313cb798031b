package expr

import (
	"math"
	"strconv"

	"cel.dev/cel-go/common/ast"

	"github.com/procd/procd/config/row"
)

// unary compiles size, the conversions and ms.
func (c *compiler) unary(name string, x ast.Expr) (node, bool) {
	switch name {
	case "size":
		return size(c.compile(x))
	case "string":
		return toText(c.compile(x))
	case "int":
		return toWhole(c.compile(x))
	case "double":
		return toDouble(c.compile(x))
	case "ms":
		s, ok := literalText(x)
		if !ok {
			return node{}, false
		}
		n, err := milliseconds(s)
		if err != nil {
			return node{}, false
		}
		return constWhole(n), true
	}
	return node{}, false
}

func toText(x node) (node, bool) {
	switch x.class {
	case text:
		return textNode(text, func(f *row.Frame) (string, *Error) {
			v, err := x.s(f)
			return v, need(err)
		}), true
	case whole:
		return written(x.n, func(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) })
	case boolC:
		return written(x.b, strconv.AppendBool)
	case double:
		return written(x.d, func(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'g', -1, 64) })
	}
	return node{}, false
}

// written is the text of a value, in the frame's arena.
func written[T any, F ~func(*row.Frame) (T, *Error)](x F, write func(dst []byte, v T) []byte) (node, bool) {
	return textNode(text, func(f *row.Frame) (string, *Error) {
		v, err := x(f)
		if err != nil {
			return "", need(err)
		}
		return f.Keep(write(f.Scratch(), v)), nil
	}), true
}

func toWhole(x node) (node, bool) {
	switch x.class {
	case whole:
		return wholeNode(func(f *row.Frame) (int64, *Error) {
			v, err := x.n(f)
			return v, need(err)
		}), true
	case double:
		return wholeNode(func(f *row.Frame) (int64, *Error) {
			v, err := x.d(f)
			if err != nil {
				return 0, need(err)
			}
			if math.IsNaN(v) || v <= math.MinInt64 || v >= math.MaxInt64 {
				return 0, errOverflow
			}
			return int64(v), nil
		}), true
	case text:
		return wholeNode(func(f *row.Frame) (int64, *Error) {
			v, err := x.s(f)
			if err != nil {
				return 0, need(err)
			}
			n, fail := strconv.ParseInt(v, 10, 64)
			if fail != nil {
				return 0, errNotWhole
			}
			return n, nil
		}), true
	}
	return node{}, false
}

func toDouble(x node) (node, bool) {
	switch x.class {
	case double:
		return doubleNode(func(f *row.Frame) (float64, *Error) {
			v, err := x.d(f)
			return v, need(err)
		}), true
	case whole:
		return doubleNode(func(f *row.Frame) (float64, *Error) {
			v, err := x.n(f)
			return float64(v), need(err)
		}), true
	case text:
		return doubleNode(func(f *row.Frame) (float64, *Error) {
			v, err := x.s(f)
			if err != nil {
				return 0, need(err)
			}
			d, fail := strconv.ParseFloat(v, 64)
			if fail != nil {
				return 0, errNotNumber
			}
			return d, nil
		}), true
	}
	return node{}, false
}
