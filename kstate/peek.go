package kstate

import (
	"fmt"
	"slices"
)

// Peek returns the committed state of a key as the changelog has it, the schema
// version in front, or nil if the key has none. A value that is in the cache is
// in the current schema, one read from the disk in that which it was written
// with; [ParseValue] takes it apart.
//
// It is for between transactions, and is [ErrOrder] within one: nobody may see
// what can still be aborted. The cache stays as it is, so the key's first touch
// by the job is still its first (P24).
func (s *Store[S]) Peek(key []byte) (value []byte, err error) {
	if s.err != nil {
		return nil, s.err
	}
	if len(s.txn) > 0 {
		return nil, fmt.Errorf("%w: store %s: Peek within a transaction", ErrOrder, s.uid)
	}
	e := s.entries.find(s.entries.hash(key), key)
	switch {
	case e == nil && s.complete:
		return nil, nil
	case e == nil:
		return s.db.Get(key)
	case !e.has:
		return nil, nil
	case s.mode == decodes:
		return slices.Clone(s.entries.encoded(e)), nil
	}
	value, err = s.Encoded(e)
	return slices.Clone(value), err
}

// ParseValue takes a state apart, as Peek returns it: the number of its schema
// version and its Avro bytes, which are a part of value.
func ParseValue(value []byte) (version int, data []byte, err error) { return splitValue(value) }
