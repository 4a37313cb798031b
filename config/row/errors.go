package row

import "errors"

// Reasons why a record is bad. They are wrapped with the field's name.
var (
	ErrMissing  = errors.New("missing")
	ErrNull     = errors.New("null, which only a field with ? may be")
	ErrRange    = errors.New("does not fit")
	ErrNotJSON  = errors.New("not one JSON object")
	ErrMismatch = errors.New("another type")
)
