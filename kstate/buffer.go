package kstate

import (
	"bytes"
	"hash/maphash"
)

// restoreBuffer collects changelog records to write them sorted, the newest per
// key only: a journal that finds its keys.
type restoreBuffer struct {
	journal
	seed  maphash.Seed
	slots []bufferSlot // open addressing, a power of two; at most three quarters are taken
	order []sortedRef  // of the last write, to be used again
}

// bufferSlot is the slot of a key, which is at ref-1; 0: free.
type bufferSlot struct {
	hash uint32
	ref  int32
}

// bufferSlotBytes is what the slots take per key.
const bufferSlotBytes = 16

const minBufferSlots = 1 << 10

// put takes a record, copying it (S6); a nil value is a tombstone. Deleted
// markers are kept for SweepMarkers to find (P16). key has its kind byte.
func (b *restoreBuffer) put(key, value []byte) {
	if 4*(len(b.refs)+1) > 3*len(b.slots) {
		b.grow()
	}
	hash := uint32(maphash.Bytes(b.seed, key))
	mask := uint32(len(b.slots) - 1)
	i := hash & mask
	for ; b.slots[i].ref != 0; i = (i + 1) & mask {
		at := b.slots[i].ref - 1
		if b.slots[i].hash == hash && bytes.Equal(b.key(at), key) {
			b.set(at, value)
			return
		}
	}
	b.slots[i] = bufferSlot{hash, addTo(&b.journal, key[0], key[1:], value) + 1}
	b.size += bufferSlotBytes
}

func (b *restoreBuffer) grow() {
	old := b.slots
	if old == nil {
		b.seed = maphash.MakeSeed()
	}
	b.slots = make([]bufferSlot, max(minBufferSlots, 2*len(old)))
	mask := uint32(len(b.slots) - 1)
	for _, s := range old {
		if s.ref == 0 {
			continue
		}
		i := s.hash & mask
		for b.slots[i].ref != 0 {
			i = (i + 1) & mask
		}
		b.slots[i] = s
	}
}

// sort returns the places of all records in key order.
func (b *restoreBuffer) sort() []sortedRef {
	b.order = b.sorted(b.order[:0])
	return b.order
}

// reset empties the buffer for its next use.
func (b *restoreBuffer) reset() {
	b.journal.reset()
	clear(b.slots)
}
