package kstate

import (
	"cmp"
	"slices"
	"strings"
)

// journal is what was committed and is not in Pebble yet: one slot per key (two
// if it was swept before it was changed, of which the later one counts),
// overwritten in place where the new value fits, so that a hot key costs its
// space once however often it is committed. The worker fills it; once handed
// to the background writer nobody changes it, until it is reset.
type journal struct {
	gen  uint32 // numbers the journals of a store, from 1
	refs []ref  // in the order of the first change; Entry.ref points here
	data arena
	size int64 // bytes of keys and slots
}

// ref is one key's newest committed value.
type ref struct {
	key   string
	value []byte // version and Avro bytes; nil: deleted
}

// refBytes is what a ref takes: a string's and a slice's header.
const refBytes = 40

// slotRound is the granularity of slots: values whose numbers grow by a digit
// still fit.
const slotRound = 16

// add takes the first change of a key and returns its place.
func (j *journal) add(key string, value []byte) int32 {
	j.refs = append(j.refs, ref{key: key})
	j.size += int64(len(key)) + refBytes
	at := int32(len(j.refs) - 1)
	j.set(at, value)
	return at
}

// set replaces a key's value. value is copied.
func (j *journal) set(at int32, value []byte) {
	r := &j.refs[at]
	if value == nil {
		r.value = nil
		return
	}
	if cap(r.value) < len(value) {
		n := (len(value) + slotRound - 1) &^ (slotRound - 1)
		r.value = j.data.alloc(n)
		j.size += int64(n)
	}
	r.value = r.value[:len(value)]
	copy(r.value, value)
}

// reset empties the journal for its next use.
func (j *journal) reset() {
	clear(j.refs) // let go of the keys
	j.refs = j.refs[:0]
	j.data.reset()
	j.size = 0
}

// sortedRef orders refs without following pointers where eight bytes decide.
type sortedRef struct {
	prefix uint64
	at     int32
}

// sorted returns the places of all refs in key order.
func (j *journal) sorted() []sortedRef {
	skip := j.commonPrefix()
	order := make([]sortedRef, len(j.refs))
	for i := range j.refs {
		order[i] = sortedRef{prefix: prefix8(j.refs[i].key[skip:]), at: int32(i)}
	}
	slices.SortFunc(order, func(a, b sortedRef) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		if c := strings.Compare(j.refs[a.at].key, j.refs[b.at].key); c != 0 {
			return c
		}
		return cmp.Compare(a.at, b.at) // of a key that was swept and then changed
	})
	return order
}

// commonPrefix is the length of what all keys start with: keys like
// "sensor-0042" differ only behind it.
func (j *journal) commonPrefix() int {
	if len(j.refs) == 0 {
		return 0
	}
	first := j.refs[0].key
	n := len(first)
	for i := range j.refs {
		key := j.refs[i].key
		n = min(n, len(key))
		for key[:n] != first[:n] {
			n--
		}
	}
	return n
}

// prefix8 makes a number of the first eight bytes that orders as they do; a
// shorter key is padded with zeros, and ties are left to the whole key.
func prefix8(key string) uint64 {
	var p uint64
	for i := range 8 {
		p <<= 8
		if i < len(key) {
			p |= uint64(key[i])
		}
	}
	return p
}
