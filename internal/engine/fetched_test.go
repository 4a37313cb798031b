package engine

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFetchedClass: a slice holds what it is for, is not much larger, and goes
// back to where it came from.
func TestFetchedClass(t *testing.T) {
	for n := 1; n < 1<<17; n += 1 + n/100 {
		class, size := fetchedClass(n)
		if size < n || n >= minFetched && 4*size > 5*n+4 {
			t.Fatalf("%d records get a slice for %d", n, size)
		}
		if again, same := fetchedClass(size); again != class || same != size {
			t.Fatalf("a slice for %d is of class %d and size %d, and goes back to class %d of size %d", n, class, size, again, same)
		}
	}
}

// TestFetchedForeign: slices that the pool did not make, which kgo also hands
// over, are never handed out as larger than they are.
func TestFetchedForeign(t *testing.T) {
	var f fetched
	for n := 1; n < 300; n++ {
		f.PutRecords(make([]kgo.Record, n))
		_, size := fetchedClass(n)
		if s := f.GetRecords(size); len(s) != size {
			t.Fatalf("asked for %d records, got %d", size, len(s))
		}
	}
}

// TestRecordsAreReused: a record of an ended transaction carries nothing into
// the next that its producer does not set: only headers are not always set.
func TestRecordsAreReused(t *testing.T) {
	var txn transaction
	var first []*kgo.Record
	for range 2*recordSlab + 1 {
		r := txn.record()
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "old"})
		first = append(first, r)
	}
	txn.ended()
	for i, old := range first {
		if r := txn.record(); r != old || len(r.Headers) != 0 {
			t.Fatalf("record %d: reused: %v, with headers %v", i, r == old, r.Headers)
		}
	}
}
