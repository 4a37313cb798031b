package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// ErrInvalid is what every mistake in a job or settings file is.
var ErrInvalid = errors.New("procd/config: invalid file")

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int    // from 1; 0: the file as a whole
	Field        string // where in the document, such as steps[1].rules[0].when
	Text         string // what it is about
	Msg          string // what is wrong
	Hint         string // what to do; may be empty
}

// Error is the message, with the text it is about and the hint on lines of
// their own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Msg)
	if e.Text != "" {
		b.WriteString("\n    " + strings.ReplaceAll(strings.TrimRight(e.Text, "\n"), "\n", "\n    "))
	}
	if e.Hint != "" {
		b.WriteString("\n    hint: " + e.Hint)
	}
	return b.String()
}

// Is makes every Error an [ErrInvalid].
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Errors are all mistakes of a file, in its order.
type Errors []*Error

// Error is all of them, one after the other.
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i := range e {
		parts[i] = e[i].Error()
	}
	return strings.Join(parts, "\n")
}

// Unwrap gives the single mistakes.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i := range e {
		out[i] = e[i]
	}
	return out
}

func (e Errors) sort() {
	sort.SliceStable(e, func(i, j int) bool {
		if e[i].Line != e[j].Line {
			return e[i].Line < e[j].Line
		}
		return e[i].Column < e[j].Column
	})
}
