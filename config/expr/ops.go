package expr

import (
	"cmp"
	"math"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/procd/procd/config/row"
)

// call compiles the operators and functions that have closures.
func (c *compiler) call(x ast.Expr) (node, bool) {
	call := x.AsCall()
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	switch name := call.FunctionName(); {
	case name == operators.LogicalAnd && len(args) == 2:
		return logic(c.compile(args[0]), c.compile(args[1]), false)
	case name == operators.LogicalOr && len(args) == 2:
		return logic(c.compile(args[0]), c.compile(args[1]), true)
	case name == operators.LogicalNot:
		return not(c.compile(args[0]))
	case name == operators.Negate:
		return negate(c.compile(args[0]))
	case name == operators.Conditional:
		return conditional(c.compile(args[0]), c.compile(args[1]), c.compile(args[2]))
	case name == operators.In || name == operators.OldIn:
		return c.in(args[0], args[1])
	case len(args) == 1:
		return c.unary(name, args[0])
	case len(args) == 2:
		return c.binary(name, args[0], args[1])
	}
	return node{}, false
}

// settle turns the two errors of an operator's operands into its own: a real
// error goes first, the left one before the right one; null is no operand.
func settle(l, r *Error) *Error {
	if l != nil && l != isNull {
		return l
	}
	if r != nil && r != isNull {
		return r
	}
	return errOperand
}

// need turns null into the error that it is for most functions.
func need(err *Error) *Error {
	if err == isNull {
		return errOperand
	}
	return err
}

// logic is && and ||: the operand that decides wins over an error on either
// side, as CEL has it. dominant is the value that decides.
func logic(l, r node, dominant bool) (node, bool) {
	if l.class != boolC || r.class != boolC {
		return node{}, false
	}
	return boolNode(func(f *row.Frame) (bool, *Error) {
		a, lerr := l.b(f)
		if lerr == nil && a == dominant {
			return dominant, nil
		}
		b, rerr := r.b(f)
		if rerr == nil && b == dominant {
			return dominant, nil
		}
		if lerr != nil {
			return false, need(lerr)
		}
		if rerr != nil {
			return false, need(rerr)
		}
		return !dominant, nil
	}), true
}

func not(x node) (node, bool) {
	if x.class != boolC {
		return node{}, false
	}
	return boolNode(func(f *row.Frame) (bool, *Error) {
		v, err := x.b(f)
		return !v, need(err)
	}), true
}

func negate(x node) (node, bool) {
	switch x.class {
	case whole:
		return wholeNode(func(f *row.Frame) (int64, *Error) {
			v, err := x.n(f)
			if err != nil {
				return 0, need(err)
			}
			return sub(0, v)
		}), true
	case double:
		return doubleNode(func(f *row.Frame) (float64, *Error) {
			v, err := x.d(f)
			return -v, need(err)
		}), true
	}
	return node{}, false
}

func conditional(c, a, b node) (node, bool) {
	if c.class != boolC {
		return node{}, false
	}
	if a.class == null && b.class == null {
		return node{}, false
	}
	a, b = likeOther(a, b), likeOther(b, a)
	if a.class != b.class {
		return node{}, false
	}
	choose := func(f *row.Frame) (bool, *Error) {
		v, err := c.b(f)
		return v, need(err)
	}
	switch a.class {
	case boolC:
		return boolNode(pick(choose, a.b, b.b)), true
	case whole:
		return wholeNode(pick(choose, a.n, b.n)), true
	case double:
		return doubleNode(pick(choose, a.d, b.d)), true
	case text, octets:
		return textNode(a.class, pick(choose, a.s, b.s)), true
	}
	return node{}, false
}

func pick[T any, F ~func(*row.Frame) (T, *Error)](choose boolFn, a, b F) func(*row.Frame) (T, *Error) {
	return func(f *row.Frame) (T, *Error) {
		v, err := choose(f)
		if err != nil {
			var zero T
			return zero, err
		}
		if v {
			return a(f)
		}
		return b(f)
	}
}

// likeOther gives the literal null the class of what it stands beside.
func likeOther(x, beside node) node {
	if x.class != null {
		return x
	}
	switch beside.class {
	case boolC:
		return boolNode(func(*row.Frame) (bool, *Error) { return false, isNull })
	case whole:
		return wholeNode(func(*row.Frame) (int64, *Error) { return 0, isNull })
	case double:
		return doubleNode(func(*row.Frame) (float64, *Error) { return 0, isNull })
	case text, octets:
		return textNode(beside.class, func(*row.Frame) (string, *Error) { return "", isNull })
	}
	return x
}

func (c *compiler) binary(name string, lx, rx ast.Expr) (node, bool) {
	switch name {
	case operators.Equals, operators.NotEquals:
		return equal(c.compile(lx), c.compile(rx), name == operators.Equals)
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return compare(name, c.compile(lx), c.compile(rx))
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return arithmetic(name, c.compile(lx), c.compile(rx))
	case "startsWith", "endsWith", "contains":
		return textTest(name, c.compile(lx), c.compile(rx))
	case "floorTo":
		return c.floorTo(lx, rx)
	case "math.@max", "math.@min":
		return extreme(name == "math.@max", c.compile(lx), c.compile(rx))
	}
	return node{}, false
}

// equal is == and !=: null equals null and nothing else.
func equal(l, r node, want bool) (node, bool) {
	if l.class == null && r.class == null {
		return constBool(want), true
	}
	l, r = likeOther(l, r), likeOther(r, l)
	if l.class != r.class {
		return node{}, false
	}
	switch l.class {
	case boolC:
		return boolNode(same(l.b, r.b, want)), true
	case whole:
		return boolNode(same(l.n, r.n, want)), true
	case double:
		return boolNode(same(l.d, r.d, want)), true
	case text, octets:
		return boolNode(same(l.s, r.s, want)), true
	}
	return node{}, false
}

func same[T comparable, F ~func(*row.Frame) (T, *Error)](l, r F, want bool) boolFn {
	return func(f *row.Frame) (bool, *Error) {
		a, lerr := l(f)
		b, rerr := r(f)
		if lerr == nil && rerr == nil {
			return (a == b) == want, nil
		}
		if lerr != nil && lerr != isNull {
			return false, lerr
		}
		if rerr != nil && rerr != isNull {
			return false, rerr
		}
		return (lerr == rerr) == want, nil
	}
}

func compare(op string, l, r node) (node, bool) {
	if l.class != r.class {
		return node{}, false
	}
	switch l.class {
	case whole:
		return boolNode(ordered(op, l.n, r.n)), true
	case text, octets:
		return boolNode(ordered(op, l.s, r.s)), true
	case double:
		return boolNode(ordered(op, l.d, r.d)), true
	}
	return node{}, false
}

func ordered[T cmp.Ordered, F ~func(*row.Frame) (T, *Error)](op string, l, r F) boolFn {
	holds := map[string]func(a, b T) bool{
		operators.Less:          func(a, b T) bool { return a < b },
		operators.LessEquals:    func(a, b T) bool { return a <= b },
		operators.Greater:       func(a, b T) bool { return a > b },
		operators.GreaterEquals: func(a, b T) bool { return a >= b },
	}[op]
	return func(f *row.Frame) (bool, *Error) {
		a, lerr := l(f)
		b, rerr := r(f)
		if lerr != nil || rerr != nil {
			return false, settle(lerr, rerr)
		}
		return holds(a, b), nil
	}
}

func arithmetic(op string, l, r node) (node, bool) {
	if l.class != r.class {
		return node{}, false
	}
	switch l.class {
	case whole:
		return wholeNode(wholes(op, l.n, r.n)), true
	case double:
		if op == operators.Modulo {
			return node{}, false
		}
		return doubleNode(doubles(op, l.d, r.d)), true
	case text, octets:
		if op != operators.Add {
			return node{}, false
		}
		return textNode(l.class, concat(l.s, r.s)), true
	}
	return node{}, false
}

func wholes(op string, l, r wholeFn) wholeFn {
	apply := map[string]func(a, b int64) (int64, *Error){
		operators.Add: add, operators.Subtract: sub, operators.Multiply: mul, operators.Divide: div, operators.Modulo: mod,
	}[op]
	return func(f *row.Frame) (int64, *Error) {
		a, lerr := l(f)
		b, rerr := r(f)
		if lerr != nil || rerr != nil {
			return 0, settle(lerr, rerr)
		}
		return apply(a, b)
	}
}

func add(a, b int64) (int64, *Error) {
	c := a + b
	if (c > a) != (b > 0) {
		return 0, errOverflow
	}
	return c, nil
}

func sub(a, b int64) (int64, *Error) {
	c := a - b
	if (c < a) != (b > 0) {
		return 0, errOverflow
	}
	return c, nil
}

func mul(a, b int64) (int64, *Error) {
	if a == 0 || b == 0 {
		return 0, nil
	}
	c := a * b
	if c/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, errOverflow
	}
	return c, nil
}

func div(a, b int64) (int64, *Error) {
	switch {
	case b == 0:
		return 0, errDivide
	case b == -1 && a == math.MinInt64:
		return 0, errOverflow
	}
	return a / b, nil
}

func mod(a, b int64) (int64, *Error) {
	switch {
	case b == 0:
		return 0, errModulo
	case b == -1 && a == math.MinInt64:
		return 0, errOverflow
	}
	return a % b, nil
}

func doubles(op string, l, r doubleFn) doubleFn {
	apply := map[string]func(a, b float64) float64{
		operators.Add:      func(a, b float64) float64 { return a + b },
		operators.Subtract: func(a, b float64) float64 { return a - b },
		operators.Multiply: func(a, b float64) float64 { return a * b },
		operators.Divide:   func(a, b float64) float64 { return a / b },
	}[op]
	return func(f *row.Frame) (float64, *Error) {
		a, lerr := l(f)
		b, rerr := r(f)
		if lerr != nil || rerr != nil {
			return 0, settle(lerr, rerr)
		}
		return apply(a, b), nil
	}
}

// concat joins two texts in the frame's arena.
func concat(l, r textFn) textFn {
	return func(f *row.Frame) (string, *Error) {
		a, lerr := l(f)
		b, rerr := r(f)
		if lerr != nil || rerr != nil {
			return "", settle(lerr, rerr)
		}
		return f.Keep(append(append(f.Scratch(), a...), b...)), nil
	}
}

func textTest(name string, l, r node) (node, bool) {
	if l.class != text || r.class != text {
		return node{}, false
	}
	test := map[string]func(s, t string) bool{"startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix, "contains": strings.Contains}[name]
	return boolNode(func(f *row.Frame) (bool, *Error) {
		a, lerr := l.s(f)
		b, rerr := r.s(f)
		if lerr != nil || rerr != nil {
			return false, settle(lerr, rerr)
		}
		return test(a, b), nil
	}), true
}

// extreme is math.greatest and math.least of two whole numbers.
func extreme(greatest bool, l, r node) (node, bool) {
	if l.class != whole || r.class != whole {
		return node{}, false
	}
	return wholeNode(func(f *row.Frame) (int64, *Error) {
		a, lerr := l.n(f)
		b, rerr := r.n(f)
		if lerr != nil || rerr != nil {
			return 0, settle(lerr, rerr)
		}
		if greatest {
			return max(a, b), nil
		}
		return min(a, b), nil
	}), true
}

// floorTo compiles floorTo(t, "20s") with a duration that is written out.
func (c *compiler) floorTo(lx, rx ast.Expr) (node, bool) {
	step, ok := literalText(rx)
	l := c.compile(lx)
	if !ok || l.class != whole {
		return node{}, false
	}
	n, err := milliseconds(step)
	if err != nil {
		return node{}, false
	}
	return wholeNode(func(f *row.Frame) (int64, *Error) {
		t, err := l.n(f)
		if err != nil {
			return 0, need(err)
		}
		return floorTo(t, n)
	}), true
}

func literalText(x ast.Expr) (string, bool) {
	if x.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := x.AsLiteral().(types.String)
	return string(s), ok
}

// in compiles x in [...], where the list is written out in constants.
func (c *compiler) in(x, list ast.Expr) (node, bool) {
	if list.Kind() != ast.ListKind || len(list.AsList().OptionalIndices()) > 0 || list.AsList().Size() == 0 {
		return node{}, false
	}
	n := c.compile(x)
	switch n.class {
	case text:
		return member(n.s, constants[string](list))
	case whole:
		return member(n.n, constants[int64](list))
	}
	return node{}, false
}

// constants returns a list's elements, nil if one of them is anything else.
func constants[T string | int64](list ast.Expr) []T {
	var out []T
	for _, e := range list.AsList().Elements() {
		if e.Kind() != ast.LiteralKind {
			return nil
		}
		v, ok := unwrap(e.AsLiteral()).(T)
		if !ok {
			return nil
		}
		out = append(out, v)
	}
	return out
}

// longList is from how many elements on a map is faster than looking at each.
const longList = 12

func member[T comparable, F ~func(*row.Frame) (T, *Error)](x F, elems []T) (node, bool) {
	if elems == nil {
		return node{}, false
	}
	if len(elems) >= longList {
		return memberOfMany(x, elems)
	}
	return boolNode(func(f *row.Frame) (bool, *Error) {
		v, err := x(f)
		if err != nil {
			return false, unlessNull(err)
		}
		for _, e := range elems {
			if e == v {
				return true, nil
			}
		}
		return false, nil
	}), true
}

func memberOfMany[T comparable, F ~func(*row.Frame) (T, *Error)](x F, elems []T) (node, bool) {
	set := make(map[T]struct{}, len(elems))
	for _, e := range elems {
		set[e] = struct{}{}
	}
	return boolNode(func(f *row.Frame) (bool, *Error) {
		v, err := x(f)
		if err != nil {
			return false, unlessNull(err)
		}
		_, ok := set[v]
		return ok, nil
	}), true
}

// unlessNull drops null: it is no element of a list of anything.
func unlessNull(err *Error) *Error {
	if err == isNull {
		return nil
	}
	return err
}

// size of a text is in characters, of bytes in bytes.
func size(x node) (node, bool) {
	switch x.class {
	case text:
		return wholeNode(func(f *row.Frame) (int64, *Error) {
			v, err := x.s(f)
			return int64(utf8.RuneCountInString(v)), need(err)
		}), true
	case octets:
		return wholeNode(func(f *row.Frame) (int64, *Error) {
			v, err := x.s(f)
			return int64(len(v)), need(err)
		}), true
	}
	return node{}, false
}
