// Package expr compiles the expressions of job files. The language is CEL: its
// parser, checker, library and evaluator are cel-go's.
//
// A [Scope] says which names an expression may use and in which slot of a
// [row.Frame] each value is. [Scope.Compile] checks an expression once, when
// the job file is read; the [Expr] it returns is immutable and may be shared by
// tasks. What it evaluates to depends on nothing but the frame: there is no
// clock, no randomness, no environment, and maps are walked in key order, so a
// replay computes the same.
//
// cel-go needs a few hundred nanoseconds and several allocations for a
// predicate. So the scalar part of an expression, which is nearly all of it in
// practice, becomes Go closures over slots, and only the rest runs in cel-go. A
// differential test holds both together, values and errors.
package expr
