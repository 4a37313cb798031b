package topology

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/procd/procd/kstate"
)

// Frontiers are the frontiers of a task. Their JSON is a list of runs: a topic, a
// partition, and the offsets of that partition and of those that follow. A task
// behind a KeyBy has one for every partition of the job's sources, and writes them
// with each of its commits.
type Frontiers []kstate.SourceOffset

// run is the frontiers of consecutive partitions, from Partition up. An offset of
// 0 says that a partition has none.
type run struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offsets   []int64 `json:"offsets"`
}

// maxGap is how many partitions without a frontier a run goes on over: another
// run takes more bytes than they do.
const maxGap = 20

// MarshalJSON writes the runs in the order of topics and partitions.
func (f Frontiers) MarshalJSON() ([]byte, error) {
	if !slices.IsSortedFunc(f, byPartition) {
		f = slices.Clone(f)
		slices.SortFunc(f, byPartition)
	}
	runs := []run{}
	for _, at := range f {
		last := len(runs) - 1
		if last < 0 || !runs[last].add(at) {
			runs = append(runs, run{at.Topic, at.Partition, []int64{at.Offset}})
		}
	}
	return json.Marshal(runs)
}

func byPartition(a, b kstate.SourceOffset) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// add appends a frontier if it is near enough.
func (r *run) add(at kstate.SourceOffset) bool {
	gap := int(at.Partition-r.Partition) - len(r.Offsets)
	if at.Topic != r.Topic || gap < 0 || gap > maxGap {
		return false
	}
	for range gap {
		r.Offsets = append(r.Offsets, 0)
	}
	r.Offsets = append(r.Offsets, at.Offset)
	return true
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Frontiers) UnmarshalJSON(text []byte) error {
	var runs []run
	if err := json.Unmarshal(text, &runs); err != nil {
		return err
	}
	*f = nil
	for _, r := range runs {
		if r.Partition < 0 || len(r.Offsets) > math.MaxInt32-int(r.Partition) {
			return fmt.Errorf("procd/topology: frontiers of %s from partition %d", r.Topic, r.Partition)
		}
		for i, offset := range r.Offsets {
			if offset != 0 {
				*f = append(*f, kstate.SourceOffset{Topic: r.Topic, Partition: r.Partition + int32(i), Offset: offset})
			}
		}
	}
	return nil
}
