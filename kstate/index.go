package kstate

import (
	"bytes"
	"hash/maphash"
)

// index holds the entries of a store and finds them by their keys. It is a hash
// table of its own because lookups of a large store are all cache misses, and
// this takes three where a map from string to pointer takes five; it also hashes
// a key that is not there yet only once. And it holds no pointers: entries are
// in slabs and have numbers, keys are in a heap. Where values have none either
// the garbage collector has nothing to look at.
//
// The table is cut into shards that grow one by one: doubling millions of
// entries at once would hold the worker for too long.
type index[S any] struct {
	seed   maphash.Seed
	shards [indexShards]shard
	n      int // entries that can be found

	slabs [][]Entry[S] // what the clock hand goes around
	free  []uint32     // numbers of entries that are not in use
	heap  heap         // keys, and committed values of decoded types
}

// slabEntries is how many entries are allocated at a time.
const (
	slabEntries = 1 << slabBits
	slabBits    = 8
)

const (
	indexShards    = 64 // a power of two
	indexShardBits = 6  // its logarithm
	minShardSlots  = 8
)

// shard is an open-addressing table with linear probing. At most three quarters
// of its slots are taken, so a probe always ends.
type shard struct {
	slots []slot // a power of two, or none
	n     int
}

// slot is the place of an entry.
type slot struct {
	hash uint32 // the bottom of the key's hash
	e    uint32 // the entry's number plus 1; 0: free
}

func newIndex[S any]() index[S] { return index[S]{seed: maphash.MakeSeed()} }

func (x *index[S]) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }

// shard picks by the top bits; the slots are picked by the bottom ones.
func (x *index[S]) shard(hash uint64) *shard {
	return &x.shards[hash>>(64-indexShardBits)]
}

// entry is the entry of a number.
func (x *index[S]) entry(n uint32) *Entry[S] {
	return &x.slabs[n>>slabBits][n&(slabEntries-1)]
}

// key is an entry's key.
func (x *index[S]) key(e *Entry[S]) []byte { return x.heap.bytes(e.at, int(e.key)) }

// find returns the entry of a key, or nil.
func (x *index[S]) find(hash uint64, key []byte) *Entry[S] {
	s := x.shard(hash)
	if len(s.slots) == 0 {
		return nil
	}
	mask := uint32(len(s.slots) - 1)
	for i := uint32(hash) & mask; s.slots[i].e != 0; i = (i + 1) & mask {
		if s.slots[i].hash != uint32(hash) {
			continue
		}
		if e := x.entry(s.slots[i].e - 1); bytes.Equal(x.key(e), key) {
			return e
		}
	}
	return nil
}

// take returns an entry that is not in use, empty but for its number.
func (x *index[S]) take() *Entry[S] {
	if n := len(x.free); n > 0 {
		e := x.entry(x.free[n-1])
		x.free = x.free[:n-1]
		return e
	}
	last := len(x.slabs) - 1
	if last < 0 || len(x.slabs[last]) == slabEntries {
		x.slabs = append(x.slabs, make([]Entry[S], 0, slabEntries))
		last++
	}
	n := len(x.slabs[last])
	x.slabs[last] = x.slabs[last][:n+1]
	e := &x.slabs[last][n]
	e.number = uint32(last<<slabBits | n)
	return e
}

// give takes an entry back that cannot be found. It forgets everything but its
// number.
func (x *index[S]) give(e *Entry[S]) {
	if e.room > 0 {
		x.heap.release(e.at, e.room)
	}
	*e = Entry[S]{number: e.number}
	x.free = append(x.free, e.number)
}

// insert makes an entry the one of a key, which is not in the index.
func (x *index[S]) insert(hash uint64, e *Entry[S], key []byte) {
	x.setBytes(e, key, x.encoded(e))
	s := x.shard(hash)
	if 4*(s.n+1) > 3*len(s.slots) {
		s.grow()
	}
	s.place(slot{uint32(hash), e.number + 1})
	s.n++
	x.n++
}

// encoded are the committed bytes of an entry of a decoded type.
func (x *index[S]) encoded(e *Entry[S]) []byte {
	if e.encoded == 0 {
		return nil
	}
	return x.heap.bytes(e.at, int(e.key+e.encoded))[e.key:]
}

// setEncoded replaces the committed bytes.
func (x *index[S]) setEncoded(e *Entry[S], value []byte) { x.setBytes(e, x.key(e), value) }

// setBytes gives an entry a key and committed bytes. The key may be its own.
func (x *index[S]) setBytes(e *Entry[S], key, value []byte) {
	n := len(key) + len(value)
	at, room := e.at, e.room
	if int(room) < n {
		at, room = x.heap.alloc(n)
	}
	b := x.heap.bytes(at, n)
	// The value first: where the piece stays it may be behind a shorter key.
	copy(b[len(key):], value)
	copy(b, key)
	if at != e.at && e.room > 0 {
		x.heap.release(e.at, e.room)
	}
	e.at, e.room, e.key, e.encoded = at, room, int32(len(key)), int32(len(value))
}

// remove takes an entry out. The slots behind it move up, so that no probe
// meets a gap before its entry.
func (x *index[S]) remove(e *Entry[S]) {
	hash := x.hash(x.key(e))
	s := x.shard(hash)
	mask := uint32(len(s.slots) - 1)
	gap := uint32(hash) & mask
	for s.slots[gap].e != e.number+1 {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; s.slots[i].e != 0; i = (i + 1) & mask {
		// How far the entry is from where its probe starts tells whether the
		// gap is on the way.
		if (i-s.slots[i].hash)&mask >= (i-gap)&mask {
			s.slots[gap] = s.slots[i]
			gap = i
		}
	}
	s.slots[gap] = slot{}
	s.n--
	x.n--
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]slot, max(minShardSlots, 2*len(old)))
	for _, slot := range old {
		if slot.e != 0 {
			s.place(slot)
		}
	}
}

func (s *shard) place(new slot) {
	mask := uint32(len(s.slots) - 1)
	i := new.hash & mask
	for s.slots[i].e != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = new
}

// all calls fn for every entry that can be found, in no order.
func (x *index[S]) all(fn func(e *Entry[S])) {
	for i := range x.shards {
		for _, slot := range x.shards[i].slots {
			if slot.e != 0 {
				fn(x.entry(slot.e - 1))
			}
		}
	}
}
