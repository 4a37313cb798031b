package kstate

import (
	"bytes"
	"cmp"
	"slices"
)

// journal is what is to be written to Pebble next: one slot per key (two if it
// was swept before it was changed, of which the later one counts), overwritten
// in place where the new value fits, so that a hot key costs its space once
// however often it is committed. The worker fills it; once handed to the
// background writer nobody changes it, until it is reset.
//
// Nothing in it but the list of chunks holds a pointer: the garbage collector
// passes by a million keys without a look.
type journal struct {
	gen  uint32 // numbers the journals of a store, from 1
	refs []ref  // in the order of the first change; Entry.ref points here
	data arena
	size int64 // bytes of keys and slots
}

// ref is one key's newest committed value. In the arena there is the key with
// its kind byte, and behind it the value: version and Avro bytes.
type ref struct {
	at    place
	key   int32 // length, with the kind byte
	value int32 // length; deleted: there is none
	room  int32 // for the value
}

// deleted is the length of a value that is not there.
const deleted = -1

// refBytes is what a ref takes, with its place in the order of a write.
const refBytes = 20 + 16

// slotRound is the granularity of slots: values whose numbers grow by a digit
// still fit.
const slotRound = 16

// addTo takes the first change of a key and returns its place. It copies both;
// a value of nil deletes.
func addTo[K string | []byte](j *journal, kind byte, key K, value []byte) int32 {
	r := ref{key: int32(1 + len(key)), value: deleted}
	r.room = roomFor(value)
	var b []byte
	r.at, b = j.data.place(int(r.key + r.room))
	b[0] = kind
	copy(b[1:], key)
	j.size += int64(len(b)) + refBytes
	j.refs = append(j.refs, r)
	at := int32(len(j.refs) - 1)
	j.set(at, value)
	return at
}

func roomFor(value []byte) int32 { return int32((len(value) + slotRound - 1) &^ (slotRound - 1)) }

// set replaces a key's value. value is copied.
func (j *journal) set(at int32, value []byte) {
	r := &j.refs[at]
	if value == nil {
		r.value = deleted
		return
	}
	if int(r.room) < len(value) {
		old := j.data.at(r.at, int(r.key))
		var b []byte
		r.room = roomFor(value)
		r.at, b = j.data.place(int(r.key + r.room))
		copy(b, old)
		j.size += int64(len(b))
	}
	r.value = int32(len(value))
	copy(j.data.at(r.at, int(r.key+r.value))[r.key:], value)
}

// key is a slot's key with its kind byte.
func (j *journal) key(at int32) []byte {
	r := &j.refs[at]
	return j.data.at(r.at, int(r.key))
}

// record is a slot's key with its kind byte and its value, nil if deleted.
func (j *journal) record(at int32) (key, value []byte) {
	r := &j.refs[at]
	if r.value == deleted {
		return j.data.at(r.at, int(r.key)), nil
	}
	b := j.data.at(r.at, int(r.key+r.value))
	return b[:r.key:r.key], b[r.key:]
}

// reset empties the journal for its next use.
func (j *journal) reset() {
	j.refs = j.refs[:0]
	j.data.reset()
	j.size = 0
}

// sortedRef orders refs without following them where eight bytes decide.
type sortedRef struct {
	prefix uint64
	at     int32
}

// sorted appends the places of all refs to order, which is empty, in key order.
func (j *journal) sorted(order []sortedRef) []sortedRef {
	skip := j.commonPrefix()
	order = slices.Grow(order, len(j.refs))
	for i := range j.refs {
		order = append(order, sortedRef{prefix: prefix8(j.key(int32(i))[skip:]), at: int32(i)})
	}
	j.sort(order, 64)
	return order
}

// smallSort is the number of places below which comparing them is faster than
// counting their bytes.
const smallSort = 96

// sort puts places in the order of their keys, those of one key in the order in
// which they came. The prefixes are the same but for the lowest bits. It deals
// them by the next byte, in place, and then each pile by itself.
func (j *journal) sort(order []sortedRef, bits int) {
	if len(order) < smallSort || bits == 0 {
		slices.SortFunc(order, j.compare)
		return
	}
	bits -= 8
	var next, end [256]int
	for _, o := range order {
		end[byte(o.prefix>>bits)]++
	}
	sum := 0
	for i, n := range end {
		next[i] = sum
		sum += n
		end[i] = sum
	}
	from := next
	for pile := range next {
		for next[pile] < end[pile] {
			o := order[next[pile]]
			for at := byte(o.prefix >> bits); int(at) != pile; at = byte(o.prefix >> bits) {
				o, order[next[at]] = order[next[at]], o
				next[at]++
			}
			order[next[pile]] = o
			next[pile]++
		}
	}
	for pile := range from {
		if end[pile]-from[pile] > 1 {
			j.sort(order[from[pile]:end[pile]], bits)
		}
	}
}

func (j *journal) compare(a, b sortedRef) int {
	if a.prefix != b.prefix {
		if a.prefix < b.prefix {
			return -1
		}
		return 1
	}
	if c := bytes.Compare(j.key(a.at), j.key(b.at)); c != 0 {
		return c
	}
	return cmp.Compare(a.at, b.at) // of a key that was swept and then changed
}

// commonPrefix is the length of what all keys start with: keys like
// "sensor-0042" differ only behind it.
func (j *journal) commonPrefix() int {
	if len(j.refs) == 0 {
		return 0
	}
	first := j.key(0)
	n := len(first)
	for i := range j.refs {
		key := j.key(int32(i))
		n = min(n, len(key))
		for !bytes.Equal(key[:n], first[:n]) {
			n--
		}
	}
	return n
}

// prefix8 makes a number of the first eight bytes that orders as they do; a
// shorter key is padded with zeros, and ties are left to the whole key.
func prefix8(key []byte) uint64 {
	var p uint64
	for i := range 8 {
		p <<= 8
		if i < len(key) {
			p |= uint64(key[i])
		}
	}
	return p
}
