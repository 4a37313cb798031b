package kstate

import "unsafe"

const (
	// How many entries one call looks at. A record adds a few entries at most,
	// so that a bounded look at each keeps the cache in its bounds; Tick also
	// makes idle stores give memory back.
	evictPerRecord = 32
	evictPerTick   = 2048
)

// clock is the place of the CLOCK algorithm's hand in the slabs.
type clock struct{ slab, at int }

// evict drops clean entries that are on disk while the stores of the Env are
// over their memory budget. An entry loaded since the hand last came by gets
// another round.
func (s *Store[S]) evict(steps int) {
	if s.env == nil {
		return
	}
	for range steps {
		if !s.env.over() {
			return
		}
		e := s.nextSlot()
		switch {
		case e == nil:
			return
		case !e.inUse || e.undo != 0 || e.lent || e.gen > s.written:
		case e.hot:
			e.hot = false
		default:
			s.evictEntry(e)
		}
	}
}

func (s *Store[S]) evictEntry(e *Entry[S]) {
	if e.has {
		s.complete = false
	}
	s.account(-s.cost(e))
	s.entries.remove(e)
	s.entries.give(e)
}

// nextSlot moves the hand by one entry. It is nil if there are no slabs.
func (s *Store[S]) nextSlot() *Entry[S] {
	if len(s.entries.slabs) == 0 {
		return nil
	}
	if s.hand.at >= len(s.entries.slabs[s.hand.slab]) {
		s.hand = clock{slab: (s.hand.slab + 1) % len(s.entries.slabs)}
	}
	e := &s.entries.slabs[s.hand.slab][s.hand.at]
	s.hand.at++
	return e
}

// account changes the memory that the store's entries take.
func (s *Store[S]) account(delta int64) {
	s.bytes += delta
	if s.env != nil {
		s.env.used.Add(delta)
	}
}

// cost estimates the memory of an entry: itself, its share of the index (two
// to three slots of 8 bytes), key and value.
func (s *Store[S]) cost(e *Entry[S]) int64 {
	return int64(unsafe.Sizeof(*e)) + 24 + int64(pieceSize(int(e.key))) + s.valueCost(e)
}

// valueCost estimates what a value holds outside of its entry, from its
// encoded size: strings for assigned types, slices with their headers for
// copied ones, and the bytes themselves as well for decoded ones.
func (s *Store[S]) valueCost(e *Entry[S]) int64 {
	return int64(e.size) * int64(1+s.mode)
}
