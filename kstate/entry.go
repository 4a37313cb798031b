package kstate

// Entry is one key of a store in memory. It is made by Store.Load and valid
// until the next BeginRecord, Commit, Abort or Tick of the store.
type Entry[S any] struct {
	value S // as this transaction sees it; meaningless unless has

	at      place // of the key in index.heap; behind it the committed bytes
	key     int32 // length
	encoded int32 // length of the committed version and Avro bytes; used by decoded types only
	room    int32 // for both
	number  uint32

	record uint64 // last record that saved it, see Store.record
	undo   int32  // its place in Store.txn plus 1; 0: unchanged in this transaction
	ref    int32  // its place in the journal gen
	gen    uint32 // the journal that holds its last committed change
	size   int32  // encoded bytes, for the memory budget

	has     bool // there is a value
	decoded bool // value is filled; only decoded types have entries that are not
	lent    bool // is in Store.lent
	inUse   bool // can be found
	hot     bool // loaded since the clock hand passed
}

// Load finds the entry of a key, or makes it, reading the disk where the key
// may be there. first says that the key was not in the cache: the moment to
// check that it belongs to this partition (P24). key is not kept.
//
// An error is a *KeyError if the key's own bytes are bad, and otherwise an
// error of the store.
func (s *Store[S]) Load(key []byte) (e *Entry[S], first bool, err error) {
	hash := s.entries.hash(key)
	if e := s.entries.find(hash, key); e != nil {
		if !e.hot { // a write costs more than a look
			e.hot = true
		}
		return e, false, nil
	}
	e, err = s.loadNew(hash, key)
	return e, true, err
}

// loadNew makes the entry of a key that is not in the cache.
func (s *Store[S]) loadNew(hash uint64, key []byte) (*Entry[S], error) {
	if err := s.prepareReader(); err != nil {
		return nil, err
	}
	e := s.entries.take()
	if !s.complete {
		if err := s.readEntry(e, key); err != nil {
			s.entries.give(e)
			return nil, err
		}
	}
	e.inUse, e.hot = true, true
	s.entries.insert(hash, e, key)
	s.account(s.cost(e))
	s.grown = true
	return e, nil
}

// readEntry fills an entry from the disk.
func (s *Store[S]) readEntry(e *Entry[S], key []byte) error {
	s.keyBuf = AppendKey(s.keyBuf[:0], key)
	value, closer, err := s.db.get(s.keyBuf)
	if value == nil || err != nil {
		return err
	}
	defer func() { _ = closer.Close() }() // never fails: it only releases the block
	if isMarker(value) {
		return nil
	}
	if err := s.decode(value, &e.value); err != nil {
		return s.keyError(key, err)
	}
	e.has, e.decoded = true, true
	e.size = int32(len(value))
	if s.mode == decodes {
		s.entries.setEncoded(e, value)
	}
	return nil
}

// Get returns the key's state as this transaction sees it, and whether there
// is one. What it returns is the caller's until the record ends: changing it in
// place changes nothing until Set (P21).
//
// Types that only decoding can separate are the exception: within one
// transaction their values are handed out again, so a change in place without
// Set lasts until the transaction ends. It is never committed by itself.
func (s *Store[S]) Get(e *Entry[S]) (v S, ok bool) {
	switch {
	case s.mode == decodes:
		return s.getDecoded(e)
	case !e.has:
		return v, false
	case s.mode == copies:
		return s.getCopy(e), true
	}
	return e.value, true
}

func (s *Store[S]) getCopy(e *Entry[S]) S {
	var dst *S
	s.copies, dst = extend(s.copies)
	s.typ.Copy(dst, &e.value)
	return *dst
}

func (s *Store[S]) getDecoded(e *Entry[S]) (v S, ok bool) {
	s.touch(e)
	if !e.has {
		return v, false
	}
	if !e.decoded {
		// The bytes were decoded or encoded here before, so this fails only if
		// memory or the type is broken. Changes reports it: nothing commits.
		if err := s.decode(s.entries.encoded(e), &e.value); err != nil {
			s.fail(s.keyError(s.entries.key(e), err))
			return v, false
		}
		e.decoded = true
	}
	return e.value, true
}

// Set gives the key a value. The store takes a copy where the type can be
// copied; other values belong to the store until the transaction ends.
func (s *Store[S]) Set(e *Entry[S], v S) {
	switch s.mode {
	case assigns:
		s.save(e)
		e.value = v
		e.has = true
	case copies:
		s.setCopy(e, v)
	case decodes:
		s.touch(e)
		s.change(e)
		e.value = v
		e.has, e.decoded = true, true
	}
}

// setCopy goes through s.arg, because the address of a parameter that is
// handed to an interface's method would move it to the heap at every call.
func (s *Store[S]) setCopy(e *Entry[S], v S) {
	s.save(e)
	s.arg = v
	s.typ.Copy(&e.value, &s.arg)
	e.has = true
}

// Clear takes the key's value away.
func (s *Store[S]) Clear(e *Entry[S]) {
	if !e.has {
		return
	}
	if s.mode != decodes {
		s.save(e)
		e.has = false
		return
	}
	s.touch(e)
	s.change(e)
	var zero S
	e.value = zero
	e.has, e.decoded = false, false
}
