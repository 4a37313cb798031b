package engine

import (
	"math/bits"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fetched is the memory of fetched records, which the client fills again once
// every record of a batch is processed: they are more than half of what it
// would allocate. It is safe for concurrent use. What is not used for a while
// goes back to the garbage collector.
type fetched struct {
	classes [64 * fetchedSteps]sync.Pool // of *[]kgo.Record, by fetchedClass
}

const (
	// fetchedSteps is the number of sizes between powers of two: a slice is
	// larger than its batch by a quarter at most.
	fetchedSteps = 4
	// minFetched is the smallest batch that is worth it.
	minFetched = 16
)

// fetchedClass is the class of slices that hold n records, and their capacity.
func fetchedClass(n int) (class, size int) {
	n = max(n, minFetched)
	octave := bits.Len(uint(n-1)) - 1
	step := 1 << octave / fetchedSteps
	over := (n - 1<<octave + step - 1) / step // 0 to fetchedSteps
	return octave*fetchedSteps + over, 1<<octave + over*step
}

// GetRecords returns a slice for n records (kgo.PoolRecords).
func (f *fetched) GetRecords(n int) []kgo.Record {
	class, size := fetchedClass(n)
	if s, ok := f.classes[class].Get().(*[]kgo.Record); ok {
		return (*s)[:n]
	}
	return make([]kgo.Record, n, size)
}

// PutRecords takes one back.
func (f *fetched) PutRecords(s []kgo.Record) {
	if class, size := fetchedClass(cap(s)); size == cap(s) {
		f.classes[class].Put(&s)
	}
}
