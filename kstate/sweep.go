package kstate

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// sweepBytes bounds what one sweep adds to a transaction.
const sweepBytes = 1 << 20

// swept is a key that the transaction's sweep writes anew, in the changelog and
// on disk.
type swept struct {
	key   string
	value []byte // nil: its deleted marker goes
}

// Attached says whether the state still needs its base savepoint (P16).
func (s *Store[S]) Attached() bool { return s.attached }

// Sweep hands out what the changelog may not hold yet of the keys on disk from
// cursor on: keys that were not changed since the base was made (P16). Values of
// older schemas are migrated by the way. See [Overlay].
//
// Keys that only memory has, changed by this transaction or by a committed one,
// are in the changelog already; so are those written to disk since, which are
// handed out again, because nothing tells them from those of the base.
func (s *Store[S]) Sweep(cursor []byte, maxKeys int, emit func(key, value []byte) error) (next []byte, done bool, err error) {
	if s.err != nil {
		return cursor, false, s.err
	}
	if !s.attached {
		return cursor, true, nil
	}
	next, done, err = s.walk(cursor, maxKeys, func(key, value []byte) error { return s.sweepKey(key, value, emit) })
	return next, done && !s.db.unverified.Load(), err
}

// Detach says that the mark has committed: from now on deletes are tombstones,
// and the changelog alone is the state (P16).
func (s *Store[S]) Detach() {
	if !s.attached {
		return
	}
	s.attached = false
	s.StartFlush()
	s.markersIn = s.flushTo
}

// SweepMarkers hands out a tombstone for every deleted marker from cursor on,
// which go from the disk when the transaction commits. At first it may hand out
// nothing, without being done, while markers are on their way to the disk.
func (s *Store[S]) SweepMarkers(cursor []byte, maxKeys int, emit func(key, value []byte) error) (next []byte, done bool, err error) {
	switch {
	case s.err != nil:
		return cursor, false, s.err
	case s.db == nil:
		return cursor, true, nil
	case s.attached:
		return cursor, false, fmt.Errorf("%w: SweepMarkers of store %s before Detach", ErrOrder, s.uid)
	}
	s.collect(false)
	s.goOnFlushing()
	if s.written < s.markersIn {
		return cursor, false, s.err
	}
	return s.walk(cursor, maxKeys, func(key, value []byte) error { return s.sweepMarker(key, value, emit) })
}

// walk calls fn for the keys on disk from cursor on, with their kind byte, until
// enough was looked at. done says that there are no more.
func (s *Store[S]) walk(cursor []byte, maxKeys int, fn func(key, value []byte) error) (next []byte, done bool, err error) {
	o := &pebble.IterOptions{LowerBound: []byte{kindValue}, UpperBound: []byte{kindValue + 1}}
	if len(cursor) > 0 {
		o.LowerBound = cursor
	}
	it, err := s.db.pebble.NewIter(o)
	if err != nil {
		return cursor, false, s.db.readError(err)
	}
	start := s.sweepSize
	next = cursor
	valid := it.First()
	for ; valid && maxKeys > 0 && s.sweepSize-start < sweepBytes; valid = it.Next() {
		value, valueErr := it.ValueAndErr()
		if valueErr != nil {
			err = s.db.readError(valueErr)
			break
		}
		if err = fn(it.Key(), value); err != nil {
			break
		}
		maxKeys--
		next = append(append(next[:0:0], it.Key()...), 0) // the least key behind it
	}
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = s.db.readError(closeErr)
	}
	if err != nil {
		return cursor, false, err
	}
	return next, !valid, nil
}

func (s *Store[S]) sweepKey(key, value []byte, emit func(key, value []byte) error) error {
	version, _, err := splitValue(value)
	if err != nil {
		return s.keyError(key[1:], err)
	}
	// A marker is in the changelog if it is of this generation, and if it came
	// with the base it means what its absence does.
	if version == deletedVersion || s.newer(key[1:]) {
		return nil
	}
	if err := s.emitSchema(&s.sweepOut, &s.sweptSchema, emit); err != nil {
		return err
	}
	b := append(s.sweepOut.tail(len(key)+len(value)+encodeRoom), key...)
	if version == s.current {
		b = append(b, value...)
	} else if b, err = s.migrate(b, value); err != nil {
		return s.keyError(key[1:], err)
	}
	b = s.sweepOut.keep(b)
	n := len(key)
	if version != s.current {
		s.swept = append(s.swept, swept{string(key[1:]), b[n:]})
	}
	s.sweepSize += len(b)
	return emit(b[:n:n], b[n:])
}

// newer says whether memory has a newer value of a key than the disk.
func (s *Store[S]) newer(key []byte) bool {
	e := s.entries.find(s.entries.hash(key), key)
	return e != nil && (e.undo != 0 || e.gen > s.written)
}

// migrate appends a stored value in the current schema.
func (s *Store[S]) migrate(dst, value []byte) ([]byte, error) {
	var v S
	if err := s.decode(value, &v); err != nil {
		return nil, err
	}
	return s.typ.Append(append(dst, s.header...), &v)
}

// sweepMarker replaces a marker unless a committed change, which is in the
// changelog behind it, already has. A change of this transaction does not
// count: it may come to nothing, and otherwise it follows in Changes.
func (s *Store[S]) sweepMarker(key, value []byte, emit func(key, value []byte) error) error {
	if !isMarker(value) {
		return nil
	}
	if e := s.entries.find(s.entries.hash(key[1:]), key[1:]); e != nil && e.gen > s.written {
		return nil
	}
	s.swept = append(s.swept, swept{string(key[1:]), nil})
	s.sweepSize += len(key)
	return emit(s.sweepOut.keep(append(s.sweepOut.tail(len(key)), key...)), nil)
}

// commitSwept writes what the sweep changed to the journal. Changes of the
// transaction come behind it there.
func (s *Store[S]) commitSwept() {
	for _, w := range s.swept {
		addTo(s.journal, kindValue, w.key, w.value)
	}
	s.schemaKnown = s.schemaKnown || s.sweptSchema
}

// endSweep forgets the transaction's sweep.
func (s *Store[S]) endSweep() {
	if s.sweepSize == 0 && !s.sweptSchema {
		return
	}
	clear(s.swept)
	s.swept = s.swept[:0]
	s.sweepOut.reset()
	s.sweepSize = 0
	s.sweptSchema = false
}
