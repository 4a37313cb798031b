package kstate

import (
	"encoding/binary"
	"time"
)

// encodeRoom is how much a value may grow over its last encoding without a
// second copy.
const encodeRoom = 64

// Changes hands out one changelog record per key that the transaction changed,
// in the order of the first change: the whole new value, or a tombstone. A key
// that had no value before the transaction and has none now is left out. The
// schema's record comes first where this partition has none yet (P18); if the
// transaction aborts, it comes again.
func (s *Store[S]) Changes(emit func(key, value []byte) error) error {
	if s.err != nil {
		return s.err
	}
	s.out.reset()
	s.schemaSent = s.schemaKnown || s.sweptSchema
	for i := range s.txn {
		if err := s.emitChange(&s.txn[i], emit); err != nil {
			return err
		}
	}
	// The type or emit may have broken the store.
	if s.err != nil {
		return s.err
	}
	s.encoded = true
	return nil
}

func (s *Store[S]) emitChange(c *change[S], emit func(key, value []byte) error) error {
	e := c.e
	c.enc = nil
	c.skip = !e.has && !c.has
	if c.skip {
		return nil
	}
	if !e.has {
		return s.emitDelete(c, emit)
	}
	if err := s.emitSchema(&s.out, &s.schemaSent, emit); err != nil {
		return err
	}
	// Key and value in one piece: one step of the arena, one cache line.
	key := s.entries.key(e)
	room := len(key) + int(e.size) + encodeRoom
	b := append(append(s.out.tail(room), kindValue), key...)
	b, err := s.typ.Append(append(b, s.header...), &e.value)
	if err != nil {
		return s.keyError(key, err)
	}
	b = s.out.keep(b)
	n := 1 + len(key)
	c.enc = b[n:]
	return emit(b[:n:n], c.enc)
}

// emitDelete hands out a tombstone, or, while the state needs its base, a
// deleted marker: a tombstone would be compacted away, and what the base has of
// the key would come back (P16).
func (s *Store[S]) emitDelete(c *change[S], emit func(key, value []byte) error) error {
	key := s.entries.key(c.e)
	b := append(append(s.out.tail(len(key)+2), kindValue), key...)
	n := len(b)
	if s.attached {
		b = append(b, deletedVersion)
	}
	b = s.out.keep(b)
	if s.attached {
		c.enc = b[n:]
	}
	return emit(b[:n:n], c.enc)
}

// emitSchema hands out the current schema's record unless it was sent.
func (s *Store[S]) emitSchema(out *arena, sent *bool, emit func(key, value []byte) error) error {
	if s.schemaKnown || *sent {
		return nil
	}
	*sent = true
	key := out.keep(AppendSchemaKey(out.tail(binary.MaxVarintLen64), s.current))
	return emit(key, out.keep(append(out.tail(len(s.schema)), s.schema...)))
}

// Commit makes the transaction's changes the committed state, at pos. It
// panics if the transaction changed since Changes: the changelog would not hold
// what the state does. It waits for the disk only where more than the whole
// memory budget is committed and unwritten.
func (s *Store[S]) Commit(pos Position) {
	if !s.encoded && len(s.txn) > 0 {
		panic("procd/kstate: Commit of store " + s.uid + " without Changes")
	}
	if !s.posDirty {
		s.posDirty, s.oldest = true, s.now
	}
	before := s.journal.size + s.bytes
	s.commitSwept()
	for i := range s.txn {
		s.commitChange(&s.txn[i])
	}
	if s.env != nil {
		s.env.used.Add(s.journal.size + s.bytes - before)
	}
	s.schemaKnown = s.schemaKnown || (s.encoded && s.schemaSent)
	s.pos.Changelog = pos.Changelog
	s.pos.Sources = append(s.pos.Sources[:0], pos.Sources...)
	s.endTxn()
	s.relieve()
}

func (s *Store[S]) commitChange(c *change[S]) {
	e := c.e
	e.undo = 0
	if c.skip {
		return
	}
	if e.has != c.has {
		if e.has {
			s.live++
		} else {
			s.live--
		}
	}
	s.bytes -= s.valueCost(e)
	e.size = int32(len(c.enc))
	s.bytes += s.valueCost(e)
	if s.mode == decodes {
		s.entries.setEncoded(e, c.enc)
	}
	if s.env == nil {
		return
	}
	if e.gen == s.journal.gen {
		s.journal.set(e.ref, c.enc)
		return
	}
	e.gen, e.ref = s.journal.gen, addTo(s.journal, kindValue, s.entries.key(e), c.enc)
}

// Abort drops what the transaction changed (P21).
func (s *Store[S]) Abort() {
	s.undoTxn(0)
	s.endTxn()
}

// endTxn forgets the transaction's logs.
func (s *Store[S]) endTxn() {
	s.txn = s.txn[:0]
	s.takeBack()
	s.nextRecord()
	s.encoded = false
	s.schemaSent = false
	s.endSweep()
	var zero S
	s.arg = zero
	if s.grown {
		s.grown = false
		s.evict(evictPerRecord)
	}
}

// Tick starts a background write where the oldest committed entry is older
// than EnvOptions.WriteEvery, where memory asks for it, or where the time that
// the copy was last known caught up is an hour old (P17); see [Overlay] for
// owned. Tick never waits for the disk. It returns the error of an earlier
// write, or what Pebble reported; the store is broken from then on.
func (s *Store[S]) Tick(now, owned time.Time) error {
	s.now, s.owned = now, owned
	if s.env == nil || s.db == nil {
		return s.err
	}
	s.collect(false)
	s.fail(s.db.fault())
	if s.err != nil {
		return s.err
	}
	s.evict(evictPerTick)
	if s.writeDue() {
		s.startWrite()
	}
	return nil
}
