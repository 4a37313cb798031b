package main

import (
	"encoding/json"
	"testing"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// hotPath is the first stage of a workload's job as the engine drives it, but
// for Kafka and the disk: records in, outputs and changes out, commits.
type hotPath struct {
	t       testing.TB
	task    *topology.Task
	records []topology.Record
	none    []kstate.Position
}

// perCommit is how many records a commit has.
const perCommit = 5000

func newHotPath(t testing.TB, w *workload) *hotPath {
	plan, err := jobOf(t, w).Plan()
	if err != nil {
		t.Fatal(err)
	}
	task, err := plan.NewTask(0, topology.TaskEnv{Partitions: 1, Now: func() int64 { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	h := &hotPath{t: t, task: task, none: make([]kstate.Position, len(task.Stores()))}
	in := *w.input
	if !in.events {
		in.keys = 1000 // as many as are warm
	}
	for i := range perCommit {
		key, value := in.record(i)
		h.records = append(h.records, topology.Record{Topic: "in", Offset: int64(i), Time: 1, Key: key, Value: value})
	}
	for range 5 {
		h.commit()
	}
	return h
}

// commit runs one transaction.
func (h *hotPath) commit() {
	for i := range h.records {
		h.records[i].Offset += perCommit
		if err := h.task.Process(0, &h.records[i]); err != nil {
			h.t.Fatal(err)
		}
	}
	h.task.Outputs()
	h.task.Take()
	if err := h.task.Changes(func(int, []byte, []byte) error { return nil }); err != nil {
		h.t.Fatal(err)
	}
	h.task.Commit(h.none)
}

// TestHotPathAllocations compares the allocations per record with the recorded
// ones. Fewer are welcome: lower what is recorded.
func TestHotPathAllocations(t *testing.T) {
	if raced {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	var b baseline
	if err := json.Unmarshal(recorded, &b); err != nil {
		t.Fatal(err)
	}
	for _, w := range drains {
		t.Run(w.name, func(t *testing.T) {
			most, ok := b.Allocations[w.name]
			got := testing.AllocsPerRun(20, newHotPath(t, w).commit) / perCommit
			const rounding = 0.01 // of what grows now and then
			if !ok || got > most+rounding {
				t.Errorf("%.3f allocations per record; recorded are %.2f (%v)", got, most, ok)
			}
		})
	}
}

func BenchmarkHotPath(b *testing.B) {
	for _, w := range drains {
		b.Run(w.name, func(b *testing.B) {
			h := newHotPath(b, w)
			b.ReportAllocs()
			for b.Loop() {
				h.commit()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perCommit, "ns/record")
		})
	}
}
