package kstate

import "bytes"

// restoreBuffer collects changelog records to write them sorted, the newest per
// key only. It does not look for a record's key when it takes it: that would be
// a cache miss or two for each of millions, most of which are the only one of
// their key. Sorting finds the others.
type restoreBuffer struct {
	journal
	order   []sortedRef // of the last sort, to be used again
	ordered bool        // order is that of what is here
}

// put takes a record, copying it (S6); a nil value is a tombstone. Deleted
// markers are kept for SweepMarkers to find (P16). key has its kind byte.
func (b *restoreBuffer) put(key, value []byte) {
	r := ref{key: int32(len(key)), value: deleted}
	if value != nil {
		r.value = int32(len(value))
	}
	var dst []byte
	r.at, dst = b.data.place(len(key) + len(value))
	copy(dst[copy(dst, key):], value)
	b.size += int64(len(dst)) + refBytes
	b.refs = append(b.refs, r)
	b.ordered = false
}

// sort returns the places of all records in key order, of a key in the order
// that they came.
func (b *restoreBuffer) sort() []sortedRef {
	if !b.ordered {
		b.order, b.ordered = b.sorted(b.order[:0]), true
	}
	return b.order
}

// shrink drops the records that newer ones have replaced, if they are at least
// half of all bytes, and reports whether it did: what a log says of its hot keys
// again and again is not worth writing to disk.
func (b *restoreBuffer) shrink() bool {
	order := b.sort()
	var left int64
	for i, o := range order {
		if b.last(order, i) {
			key, value := b.record(o.at)
			left += int64(len(key)+len(value)) + refBytes
		}
	}
	if 2*left > b.size {
		return false
	}
	var kept restoreBuffer
	for i, o := range order {
		if b.last(order, i) {
			kept.put(b.record(o.at))
		}
	}
	b.reset()
	for i := range kept.refs {
		b.put(kept.record(int32(i)))
	}
	return true
}

// last says whether no newer record of the same key follows.
func (j *journal) last(order []sortedRef, i int) bool {
	return i+1 == len(order) || order[i].prefix != order[i+1].prefix || !bytes.Equal(j.key(order[i].at), j.key(order[i+1].at))
}

// reset empties the buffer for its next use.
func (b *restoreBuffer) reset() {
	b.journal.reset()
	b.ordered = false
}
