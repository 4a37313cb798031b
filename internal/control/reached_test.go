package control

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// reachedText takes lines of `source TOPIC ID PARTITIONS`, `savepoint-source
// TOPIC ID` and `previous-source TOPIC ID` where they differ, and of `savepoint`,
// `previous` and `stood`, each with a task, frontiers TOPIC/PARTITION=OFFSET and
// watermarks @TOPIC/PARTITION=TIME.
func reachedText(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	m := &savepoint.Manifest{}
	var sources []TopicRef
	var previous Generation
	ids := map[string]map[string]int{"savepoint": {}, "previous": {}}
	stood := map[positions.Task]positions.Record{}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		kind, isSource := strings.CutSuffix(f[0], "-source")
		switch {
		case f[0] == "source":
			ref := TopicRef{Name: f[1], ID: TopicID{byte(number(t, d, f[2]))}, Partitions: int32(number(t, d, f[3]))}
			sources = append(sources, ref)
			ids["savepoint"][f[1]], ids["previous"][f[1]] = number(t, d, f[2]), number(t, d, f[2])
			continue
		case isSource:
			ids[kind][f[1]] = number(t, d, f[2])
			continue
		}
		task, frontiers, watermarks := standing(t, d, f[1:])
		switch kind {
		case "savepoint":
			m.Tasks = append(m.Tasks, savepoint.Task{Stage: task.Stage, Partition: task.Partition, Frontiers: frontiers, Watermarks: watermarks})
		case "previous":
			r := TaskReached{Stage: task.Stage, Partition: task.Partition, Frontiers: Offsets{}, Watermarks: watermarks}
			for _, at := range frontiers {
				r.Frontiers[at.Topic] = append(r.Frontiers[at.Topic], at.Offset) // partitions in order
			}
			previous.Reached = append(previous.Reached, r)
		case "stood":
			stood[task] = positions.Record{Frontiers: frontiers, Watermarks: watermarks}
		}
	}
	for _, ref := range sources {
		m.Sources = append(m.Sources, savepoint.Topic{Name: ref.Name, ID: TopicID{byte(ids["savepoint"][ref.Name])}.String(), Partitions: ref.Partitions})
		before := ref
		before.ID = TopicID{byte(ids["previous"][ref.Name])}
		previous.Sources = append(previous.Sources, before)
	}
	var b strings.Builder
	for _, r := range inheritTasks(sources, m, previous, stood) {
		var topics []string
		for _, topic := range slices.Sorted(maps.Keys(r.Frontiers)) {
			topics = append(topics, fmt.Sprint(topic, " ", r.Frontiers[topic]))
		}
		fmt.Fprintf(&b, "%s/%d %s", r.Stage, r.Partition, strings.Join(topics, ", "))
		for _, w := range r.Watermarks {
			fmt.Fprintf(&b, " until %s/%d=%d", w.Topic, w.Partition, w.Time)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func standing(t *testing.T, d *datadriven.TestData, f []string) (task positions.Task, frontiers []kstate.SourceOffset, watermarks []topology.Watermark) {
	t.Helper()
	stage, partition, _ := strings.Cut(f[0], "/")
	task = positions.Task{Stage: stage, Partition: int32(number(t, d, partition))}
	for _, word := range f[1:] {
		word, time := strings.CutPrefix(word, "@")
		at, value, _ := strings.Cut(word, "=")
		topic, partition, _ := strings.Cut(at, "/")
		p, v := int32(number(t, d, partition)), int64(number(t, d, value))
		if time {
			watermarks = append(watermarks, topology.Watermark{Topic: topic, Partition: p, Time: v})
		} else {
			frontiers = append(frontiers, kstate.SourceOffset{Topic: topic, Partition: p, Offset: v})
		}
	}
	return task, frontiers, watermarks
}

func number(t *testing.T, d *datadriven.TestData, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%s: %q: %v", d.Pos, text, err)
	}
	return n
}

// A generation record stays below a Kafka record's limit; what is left out are
// whole stages, those with the most.
func TestP10ReachedFitsARecord(t *testing.T) {
	var all []TaskReached
	add := func(stage string, tasks, offsets int) {
		for n := range tasks {
			r := TaskReached{Stage: stage, Partition: int32(n), Frontiers: Offsets{}}
			for range offsets {
				r.Frontiers["events"] = append(r.Frontiers["events"], 1_234_567_890)
			}
			all = append(all, r)
		}
	}
	add("by:room", 200, 200)
	add("in:events", 200, 1)
	if rest, left := fit(slices.Clone(all), maxReachedBytes); len(left) != 0 || len(rest) != 400 {
		t.Errorf("of two stages of 200 partitions %d tasks are kept, %v is left out", len(rest), left)
	}
	add("by:floor", 250, 250)
	rest, left := fit(slices.Clone(all), maxReachedBytes)
	if !slices.Equal(left, []string{"by:floor"}) || len(rest) != 400 {
		t.Errorf("%d tasks are kept, %v is left out", len(rest), left)
	}
	rest, left = fit(all, 0)
	if len(left) != 3 || len(rest) != 0 {
		t.Errorf("%d tasks are kept, %v is left out", len(rest), left)
	}
}

// stand writes where a task of a generation stood, as its commits do.
func (b *bench) stand(g Generation, task positions.Task, frontiers ...kstate.SourceOffset) {
	b.t.Helper()
	value := positions.Record{Format: positions.Format, Generation: g.Generation, Frontiers: frontiers}.Encode()
	r := &kgo.Record{Topic: PositionsTopic(testJob, g.Generation), Partition: task.Partition, Key: task.Key(), Value: value}
	if err := b.cl.ProduceSync(b.context(), r).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// A rewind finds out how far each task had come from what the tasks wrote, not
// from what was committed for the stage before them; a later one keeps it.
func TestP10RewindReadsWhereTasksStood(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir := t.TempDir()
	first := b.mustBegin(statelessJob("h1"), StartOptions{}).Generation
	at := func(offset int64) kstate.SourceOffset {
		return kstate.SourceOffset{Topic: "events", Partition: 1, Offset: offset}
	}
	task := positions.Task{Stage: "in:events", Partition: 1}
	b.stand(first, task, at(5))
	b.stand(first, task, at(7)) // what counts
	b.commitAs("1", map[int32]int64{1: 9})
	b.stop()
	check := func(g Generation, task positions.Task, want ...kstate.SourceOffset) {
		t.Helper()
		r, ok := g.ReachedBy(task.Stage, task.Partition)
		if got := r.SourceOffsets(); !ok || !slices.Equal(got, want) {
			t.Errorf("generation %d: task %v had reached %v (%v), want %v", g.Generation, task, got, ok, want)
		}
	}
	second := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5))}).Generation
	check(second, task, at(7))
	check(second, positions.Task{Stage: "in:events", Partition: 3}, kstate.SourceOffset{Topic: "events", Partition: 3, Offset: 5})
	check(second, positions.Task{Stage: "by:room", Partition: 1})

	b.stand(second, task, at(6))
	b.stop()
	third := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: b.save(dir, b.manifest(savepointB, 2, 3, 3, 4, 6))}).Generation
	check(third, task, at(7))

	// Without the positions there is what earlier records say.
	b.stop()
	if _, err := b.adm.DeleteTopics(b.context(), PositionsTopic(testJob, 3)); err != nil {
		t.Fatal(err)
	}
	fourth := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: b.choose(filepath.Join(dir, savepointA), savepointA), Again: true}).Generation
	check(fourth, task, at(7))
}

// Records of before say nothing of tasks, and are readable.
func TestP10RecordsOfBefore(t *testing.T) {
	var v View
	if err := v.Apply([]byte("generation/2"), []byte(`{"format":1,"generation":2,"frontiers":{"events":[8,9]}}`)); err != nil {
		t.Fatal(err)
	}
	c, ok := v.Current()
	if _, known := c.Generation.ReachedBy("in:events", 1); !ok || known {
		t.Errorf("%v, %v", ok, known)
	}
	if at, ok := c.Generation.Frontiers.At("events", 1); !ok || at != 9 {
		t.Errorf("frontier %d, %v", at, ok)
	}
}
