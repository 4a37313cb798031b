package positions

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/kstate"
)

func TestRoundTrip(t *testing.T) {
	r := Record{Format: Format, Generation: 7, Sources: []kstate.SourceOffset{{Topic: "a", Partition: 2, Offset: 1 << 60}}}
	got, err := Decode(r.Encode())
	if err != nil || got.Generation != 7 || got.Sources[0] != r.Sources[0] {
		t.Fatalf("%+v, %v", got, err)
	}
	if offset, ok := got.Source("a", 2); !ok || offset != 1<<60 {
		t.Errorf("source a/2: %d, %v", offset, ok)
	}
	if _, ok := got.Source("a", 1); ok {
		t.Error("a partition that it does not have has an offset")
	}
	r.Format = Format + 1
	if _, err := Decode(r.Encode()); err == nil {
		t.Error("a newer format is read as if it were known")
	}
}

// wide is the record of a task whose records come from 200 partitions of the
// job's source.
func wide() Record {
	r := Record{Format: Format, Generation: 3, Sources: []kstate.SourceOffset{{Topic: "procd.alarm.g3.by-room.repartition", Partition: 17, Offset: 1_234_567}}}
	for p := range int32(200) {
		r.Frontiers = append(r.Frontiers, kstate.SourceOffset{Topic: "alarm-events", Partition: p, Offset: 1_234_567 + 977*int64(p)})
	}
	return r
}

// Each task writes its record with each commit.
func TestWideRecordIsSmall(t *testing.T) {
	r := wide()
	value := r.Encode()
	if len(value) > 2048 {
		t.Errorf("a record of 200 source partitions has %d bytes", len(value))
	}
	if got, err := Decode(value); err != nil || !slices.Equal(got.Frontiers, r.Frontiers) {
		t.Errorf("%+v, %v", got, err)
	}
}

func BenchmarkEncodeWide(b *testing.B) {
	r, bytes := wide(), 0
	b.ReportAllocs()
	for b.Loop() {
		bytes = len(r.Encode())
	}
	b.ReportMetric(float64(bytes), "bytes/record")
}

// TestP8Read finds the newest record of each task, however far back it is, and
// reads no further than that.
func TestP8Read(t *testing.T) {
	const partitions = 3
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "positions"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	opts := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	cl, err := kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	random := rand.New(rand.NewPCG(1, 2))
	newest := map[Task]int{}
	var records []*kgo.Record
	put := func(task Task, n int) {
		newest[task] = n
		value := Record{Format: Format, Generation: n}.Encode()
		records = append(records, &kgo.Record{Topic: "positions", Partition: task.Partition, Key: task.Key(), Value: value})
	}
	rare := Task{"by:rare", 2}
	put(rare, 1) // far behind everything else
	for n := range 5000 {
		put(Task{fmt.Sprintf("in:s%d", random.IntN(2)), int32(random.IntN(partitions))}, n+2)
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), "positions")
	if err != nil {
		t.Fatal(err)
	}
	bounds := map[int32]Bounds{}
	for p := range int32(partitions) {
		o, _ := ends.Lookup("positions", p)
		bounds[p] = Bounds{End: o.Offset}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	topic := Topic{Name: "positions", Options: opts, Stalled: func(context.Context) error { return nil }}
	none := Task{"in:none", 1}
	tasks := []Task{rare, none}
	for p := range int32(partitions) {
		tasks = append(tasks, Task{"in:s0", p}, Task{"in:s1", p})
	}
	got, err := topic.Read(ctx, bounds, tasks)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		r, ok := got[task]
		if want, wanted := newest[task]; ok != wanted || r.Generation != want {
			t.Errorf("%v: %d (%v), want %d (%v)", task, r.Generation, ok, want, wanted)
		}
	}
	// What came behind the bounds is not looked at, nor what lies before.
	got, err = topic.Read(ctx, map[int32]Bounds{2: {Start: 1, End: 2}}, []Task{rare})
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestSearch: how far back each round goes, and when it ends.
func TestSearch(t *testing.T) {
	task := Task{"in:a", 0}
	s := Topic{Name: "p"}.searches(map[int32]Bounds{0: {Start: 100, End: 2000}}, []Task{task})[0]
	found := map[Task][]byte{}
	for _, want := range [][2]int64{{1800, 2000}, {1000, 1800}, {100, 1000}} {
		size := want[1] - want[0]
		if want[0] == 100 {
			size = 3200
		}
		part := s.next(size, found)
		if part == nil || part.From != want[0] || part.To != want[1] {
			t.Fatalf("reads %+v, want %v", part, want)
		}
	}
	if part := s.next(12800, found); part != nil {
		t.Errorf("reads on from %d", part.From)
	}
	found[task] = []byte("x")
	s.end = 100
	if part := s.next(200, found); part != nil {
		t.Error("reads on for what is found")
	}
}
