package kstate

import (
	"bytes"
	"slices"
)

// Each calls fn for every key that has a value, as this transaction sees it, in
// key order. What fn gets is its own until it returns, v for good. fn must not
// change the store. It costs a sort of the cached keys and a scan of the disk.
func (s *Store[S]) Each(fn func(key []byte, v S) error) error {
	if err := s.prepareReader(); err != nil {
		return err
	}
	cached := make([]*Entry[S], 0, s.entries.n)
	s.entries.all(func(e *Entry[S]) { cached = append(cached, e) })
	slices.SortFunc(cached, func(a, b *Entry[S]) int { return bytes.Compare(s.entries.key(a), s.entries.key(b)) })
	if s.complete {
		return s.eachCached(cached, fn)
	}
	return s.eachMerged(cached, fn)
}

func (s *Store[S]) eachCached(cached []*Entry[S], fn func(key []byte, v S) error) error {
	for _, e := range cached {
		if !e.has {
			continue
		}
		v, err := s.fresh(e)
		if err != nil {
			return err
		}
		if err := fn(slices.Clone(s.entries.key(e)), v); err != nil {
			return err
		}
	}
	return nil
}

// eachMerged walks the disk and puts the cached entries, which are newer, in
// their places.
func (s *Store[S]) eachMerged(cached []*Entry[S], fn func(key []byte, v S) error) error {
	err := s.db.Each(func(key, value []byte) error {
		n, found := slices.BinarySearchFunc(cached, key, func(e *Entry[S], key []byte) int {
			return bytes.Compare(s.entries.key(e), key)
		})
		if err := s.eachCached(cached[:n], fn); err != nil {
			return err
		}
		cached = cached[n:]
		if found {
			return nil // its turn comes with the next cached ones
		}
		var v S
		if err := s.decode(value, &v); err != nil {
			return s.keyError(key, err)
		}
		return fn(key, v)
	})
	if err != nil {
		return err
	}
	return s.eachCached(cached, fn)
}

// fresh returns an entry's value as one that shares nothing with the store.
func (s *Store[S]) fresh(e *Entry[S]) (v S, err error) {
	switch {
	case s.mode == assigns:
		return e.value, nil
	case s.mode == copies:
		s.typ.Copy(&v, &e.value)
		return v, nil
	case e.undo == 0:
		err = s.decode(s.entries.encoded(e), &v)
	default:
		var value []byte
		if value, err = s.Encoded(e); err != nil {
			return v, err
		}
		err = s.decode(value, &v)
	}
	if err != nil {
		return v, s.keyError(s.entries.key(e), err)
	}
	return v, nil
}
