package kstate

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// restoreBuffer collects changelog records to write them sorted, the newest per
// key only.
type restoreBuffer struct {
	records []restoreRecord
	data    arena
	size    int
}

type restoreRecord struct {
	key, value []byte // value nil: deleted
}

// add copies a record (S6); a nil value is a tombstone. Deleted markers are kept
// for SweepMarkers to find (P16).
func (b *restoreBuffer) add(key, value []byte) {
	r := restoreRecord{key: b.clone(key)}
	if value != nil {
		r.value = b.clone(value)
	}
	b.records = append(b.records, r)
	b.size += len(key) + len(value) + refBytes
}

func (b *restoreBuffer) clone(p []byte) []byte {
	dst := b.data.alloc(len(p))
	copy(dst, p)
	return dst
}

// drain moves the records to a batch, in key order.
func (b *restoreBuffer) drain(batch *pebble.Batch) error {
	slices.SortStableFunc(b.records, func(x, y restoreRecord) int { return bytes.Compare(x.key, y.key) })
	for i, r := range b.records {
		if i+1 < len(b.records) && bytes.Equal(r.key, b.records[i+1].key) {
			continue // a newer one follows
		}
		var err error
		if r.value == nil {
			err = batch.Delete(r.key, nil)
		} else {
			err = batch.Set(r.key, r.value, nil)
		}
		if err != nil {
			return err
		}
	}
	b.records = b.records[:0]
	b.data.reset()
	b.size = 0
	return nil
}
