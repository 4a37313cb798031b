package expr

import (
	"errors"
	"strings"
)

// ErrExpression is what every error of an evaluation is.
var ErrExpression = errors.New("procd/config: expression failed")

// Error is why an expression has no value for a record. Most are made once:
// failing costs no memory.
type Error struct{ Msg string }

// Error is the reason.
func (e *Error) Error() string { return e.Msg }

// Is makes every Error an [ErrExpression].
func (e *Error) Is(target error) bool { return target == ErrExpression }

// isNull is no failure: it says that the value is null. Operators turn it into
// what null means for them.
var isNull = &Error{"null"}

var (
	errOverflow  = &Error{"whole numbers overflow"}
	errDivide    = &Error{"division by zero"}
	errModulo    = &Error{"modulus by zero"}
	errOperand   = &Error{"null where a value is needed"}
	errNotBool   = &Error{"null where true or false is needed"}
	errNotWhole  = &Error{"the text is no whole number"}
	errNotNumber = &Error{"the text is no number"}
)

// fromCEL gives cel-go's errors the texts of this package.
func fromCEL(err error) *Error {
	msg := err.Error()
	switch {
	case strings.HasPrefix(msg, "integer overflow"):
		return errOverflow
	case msg == errDivide.Msg:
		return errDivide
	case msg == errModulo.Msg:
		return errModulo
	case msg == "type conversion error from 'string' to 'int'":
		return errNotWhole
	case msg == "type conversion error from 'string' to 'double'":
		return errNotNumber
	case strings.HasPrefix(msg, "no such overload"):
		return errOperand
	}
	return &Error{Msg: msg}
}

// Issue is one mistake in an expression.
type Issue struct {
	Offset int // of the byte in the expression
	Msg    string
	Hint   string
}
