package kstate

import "hash/maphash"

// index finds the entries of keys. It is a hash table of its own because
// lookups of a large store are all cache misses, and this takes three where a
// map from string to pointer takes five; it also hashes a key that is not there
// yet only once.
//
// The table is cut into shards that grow one by one: doubling millions of
// entries at once would hold the worker for too long.
type index[S any] struct {
	seed   maphash.Seed
	shards [indexShards]shard[S]
	n      int
}

const (
	indexShards    = 64 // a power of two
	indexShardBits = 6  // its logarithm
	minShardSlots  = 8
)

// shard is an open-addressing table with linear probing. At most three quarters
// of its slots are taken, so a probe always ends.
type shard[S any] struct {
	slots []slot[S] // a power of two, or none
	n     int
}

type slot[S any] struct {
	hash uint64
	e    *Entry[S] // nil: free
}

func newIndex[S any]() index[S] { return index[S]{seed: maphash.MakeSeed()} }

func (x *index[S]) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }

// shard picks by the top bits; the slots are picked by the bottom ones.
func (x *index[S]) shard(hash uint64) *shard[S] {
	return &x.shards[hash>>(64-indexShardBits)]
}

// find returns the entry of a key, or nil.
func (x *index[S]) find(hash uint64, key []byte) *Entry[S] {
	s := x.shard(hash)
	if len(s.slots) == 0 {
		return nil
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash & mask; s.slots[i].e != nil; i = (i + 1) & mask {
		if s.slots[i].hash == hash && s.slots[i].e.key == string(key) {
			return s.slots[i].e
		}
	}
	return nil
}

// insert adds an entry whose key is not in the index.
func (x *index[S]) insert(hash uint64, e *Entry[S]) {
	s := x.shard(hash)
	if 4*(s.n+1) > 3*len(s.slots) {
		s.grow()
	}
	s.place(slot[S]{hash, e})
	s.n++
	x.n++
}

// remove takes an entry out. The slots behind it move up, so that no probe
// meets a gap before its entry.
func (x *index[S]) remove(e *Entry[S]) {
	hash := maphash.String(x.seed, e.key)
	s := x.shard(hash)
	mask := uint64(len(s.slots) - 1)
	gap := hash & mask
	for s.slots[gap].e != e {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; s.slots[i].e != nil; i = (i + 1) & mask {
		// How far the entry is from where its probe starts tells whether the
		// gap is on the way.
		if (i-s.slots[i].hash)&mask >= (i-gap)&mask {
			s.slots[gap] = s.slots[i]
			gap = i
		}
	}
	s.slots[gap] = slot[S]{}
	s.n--
	x.n--
}

func (s *shard[S]) grow() {
	old := s.slots
	s.slots = make([]slot[S], max(minShardSlots, 2*len(old)))
	for _, slot := range old {
		if slot.e != nil {
			s.place(slot)
		}
	}
}

func (s *shard[S]) place(new slot[S]) {
	mask := uint64(len(s.slots) - 1)
	i := new.hash & mask
	for s.slots[i].e != nil {
		i = (i + 1) & mask
	}
	s.slots[i] = new
}

// all calls fn for every entry, in no order.
func (x *index[S]) all(fn func(e *Entry[S])) {
	for i := range x.shards {
		for _, slot := range x.shards[i].slots {
			if slot.e != nil {
				fn(slot.e)
			}
		}
	}
}
