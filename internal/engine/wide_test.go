package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// TestWideJob: a job of two stages of 200 partitions each, in one process, whose
// tasks get records from all partitions of the stage before, takes a savepoint,
// stops with it and goes on from it. What its tasks have to say of 40,000
// frontiers is more than one record of Kafka can have.
func TestWideJob(t *testing.T) {
	const wide = 200
	job := topology.New(unique("wide"))
	events := topology.From[event](job, job.Name()+"-in", codec.JSON[event]())
	keyed := topology.KeyBy(events, "by-key", func(e event) string { return e.Key }, codec.JSON[event]())
	counted := topology.Process(keyed, "counts", func(c topology.Ctx[total, event], e event) {
		s := c.State()
		s.Sum++
		c.Set(s)
		c.Emit(event{e.Key, s.Sum})
	})
	topology.To(counted, job.Name()+"-out", codec.JSON[event]())
	r := newRigOf(t, wide, job)
	r.savepoints = t.TempDir()
	data := t.TempDir()

	keys := keysOfAll(wide)
	send := func() {
		t.Helper()
		cl := r.manual()
		var records []*kgo.Record
		for from := range int32(wide) {
			for _, key := range keys {
				r.sum[key]++
				r.sent[key] = append(r.sent[key], r.sum[key])
				records = append(records, &kgo.Record{Topic: r.name + "-in", Partition: from, Key: []byte(key), Value: fmt.Appendf(nil, `{"key":%q}`, key)})
			}
		}
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send()
	first := r.start(data)
	r.wantExact()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	taken, err := coordinator.Take(ctx, r.asker(), "", true, nil)
	if err != nil || !taken.Saved || !taken.Stopped || taken.Attempts != 1 {
		t.Fatalf("savepoint: %+v, %v", taken, err)
	}
	t.Logf("savepoint of %d x %d partitions: %v, pause %d ms, phases %v", wide, wide, time.Since(began).Round(time.Millisecond), taken.PauseMillis, taken.PhaseMillis)
	<-first.ended

	path := filepath.Join(r.savepoints, taken.ID)
	opened, err := savepoint.OpenPath(path)
	if err != nil {
		t.Fatal(err)
	}
	later := 0
	for _, task := range opened.Manifest().Tasks {
		if task.Stage == "by:by-key" && len(task.Frontiers) == wide {
			later++
		}
	}
	if later != wide {
		t.Errorf("%d tasks have the frontiers of all sources", later)
	}
	r.from.Savepoint = &control.Chosen{Opened: opened, Path: path, Word: taken.ID}
	second := r.start(data)
	send()
	r.wantExact()
	if g := second.e.p.cfg.Lease.Generation; g.Generation != 2 || len(g.Reached) != 2*wide {
		t.Errorf("generation %d knows of %d tasks how far they were", g.Generation, len(g.Reached))
	}
	if err := r.end(second); err != nil {
		t.Error(err)
	}
}

// keysOfAll is a key for each partition.
func keysOfAll(partitions int) []string {
	keys := make([]string, partitions)
	partitioner := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for n, missing := 0, partitions; missing > 0; n++ {
		key := strconv.Itoa(n)
		if at := partitioner.Partition(&kgo.Record{Key: []byte(key)}, partitions); keys[at] == "" {
			keys[at] = key
			missing--
		}
	}
	return keys
}
