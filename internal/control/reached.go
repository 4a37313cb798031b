package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// TaskReached is how far the generations so far have brought one task (P10):
// what it emits for records below was emitted before. The offsets that were
// committed do not say that of a task behind a repartition topic, which may not
// have got yet what was consumed for it.
type TaskReached struct {
	Stage     string `json:"stage"`
	Partition int32  `json:"partition"`
	// Frontiers are those of the sources; 0 where nothing of a partition has
	// come to the task.
	Frontiers Offsets `json:"frontiers"`
	// Watermarks are for timers and windows: what is due by then was emitted.
	Watermarks []topology.Watermark `json:"watermarks,omitempty"`
}

// ReachedBy finds how far a task had come; nothing for one that no generation had. ok
// is false if the record does not say it of any task: then only how far the
// sources were consumed is known, as Frontiers.
func (g *Generation) ReachedBy(stage string, partition int32) (r TaskReached, ok bool) {
	i := slices.IndexFunc(g.Reached, func(r TaskReached) bool { return r.Stage == stage && r.Partition == partition })
	if i >= 0 {
		r = g.Reached[i]
	}
	return r, len(g.Reached) > 0
}

// SourceOffsets are the frontiers as a list, without those that are 0.
func (r TaskReached) SourceOffsets() []kstate.SourceOffset {
	var all []kstate.SourceOffset
	for _, topic := range slices.Sorted(maps.Keys(r.Frontiers)) {
		for partition, offset := range r.Frontiers[topic] {
			if offset > 0 {
				all = append(all, kstate.SourceOffset{Topic: topic, Partition: int32(partition), Offset: offset})
			}
		}
	}
	return all
}

// reaching collects how far tasks have come.
type reaching struct {
	counts map[string]int32 // partitions of the topics that count
	tasks  map[positions.Task]*TaskReached
}

// raise takes the elementwise maximum of what is known of a task and at.
func (r *reaching) raise(task positions.Task, frontiers []kstate.SourceOffset, watermarks []topology.Watermark) {
	t := r.tasks[task]
	if t == nil {
		t = &TaskReached{Stage: task.Stage, Partition: task.Partition, Frontiers: Offsets{}}
		r.tasks[task] = t
	}
	for _, f := range frontiers {
		n := r.counts[f.Topic]
		if f.Partition < 0 || f.Partition >= n {
			continue
		}
		have := t.Frontiers[f.Topic]
		if missing := int(f.Partition) + 1 - len(have); missing > 0 {
			have = append(have, make([]int64, missing)...)
			t.Frontiers[f.Topic] = have
		}
		have[f.Partition] = max(have[f.Partition], f.Offset)
	}
	for _, w := range watermarks {
		if r.counts[w.Topic] == 0 {
			continue
		}
		i := slices.IndexFunc(t.Watermarks, func(h topology.Watermark) bool { return h.Topic == w.Topic && h.Partition == w.Partition })
		if i < 0 {
			t.Watermarks = append(t.Watermarks, w)
		} else {
			t.Watermarks[i].Time = max(t.Watermarks[i].Time, w.Time)
		}
	}
}

// inheritTasks is, for every task of any generation, the elementwise maximum of
// what the savepoint says of it, what the generation before had inherited and
// what its position records say (P10). Only topics that are still the same ones
// count (O4).
func inheritTasks(sources []TopicRef, m *savepoint.Manifest, previous Generation, stood map[positions.Task]positions.Record) []TaskReached {
	r := &reaching{counts: map[string]int32{}, tasks: map[positions.Task]*TaskReached{}}
	for _, t := range sources {
		if slices.ContainsFunc(m.Sources, func(s savepoint.Topic) bool { return s.Name == t.Name && s.ID == t.ID.String() }) {
			r.counts[t.Name] = t.Partitions
		}
	}
	for _, t := range m.Tasks {
		r.raise(positions.Task{Stage: t.Stage, Partition: t.Partition}, t.Frontiers, t.Watermarks)
	}
	clear(r.counts)
	for _, t := range sources {
		if slices.Contains(previous.Sources, t) {
			r.counts[t.Name] = t.Partitions
		}
	}
	for _, t := range previous.Reached {
		r.raise(positions.Task{Stage: t.Stage, Partition: t.Partition}, t.SourceOffsets(), t.Watermarks)
	}
	for task, at := range stood {
		r.raise(task, at.Frontiers, at.Watermarks)
	}
	return r.list()
}

// list is sorted by stage and partition, without tasks of which nothing is
// known.
func (r *reaching) list() []TaskReached {
	var all []TaskReached
	for _, t := range r.tasks {
		if len(t.Frontiers) > 0 || len(t.Watermarks) > 0 {
			all = append(all, *t)
		}
	}
	slices.SortFunc(all, func(a, b TaskReached) int {
		if c := strings.Compare(a.Stage, b.Stage); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return all
}

// maxReachedBytes bounds what a generation record says of tasks: the record is
// one Kafka record, of a megabyte at most. Two stages of 200 partitions take
// half of it.
const maxReachedBytes = 640 << 10

// fit leaves out the stages that take most until the rest fits: their outputs
// are emitted again without saying so. It returns their ids.
func fit(all []TaskReached, limit int) (rest []TaskReached, left []string) {
	size := map[string]int{}
	total := 0
	for _, t := range all {
		b, err := json.Marshal(t)
		if err != nil {
			panic(fmt.Sprintf("procd/control: %v", err)) // strings and numbers always encode
		}
		size[t.Stage] += len(b)
		total += len(b)
	}
	for total > limit {
		widest := slices.MaxFunc(slices.Sorted(maps.Keys(size)), func(a, b string) int { return size[a] - size[b] })
		left = append(left, widest)
		total -= size[widest]
		delete(size, widest)
	}
	return slices.DeleteFunc(all, func(t TaskReached) bool { return slices.Contains(left, t.Stage) }), left
}

// reached is what a new generation inherits, task by task. The past is fenced.
func (b *beginning) reached(ctx context.Context, sources []TopicRef, from *Candidate, current Current) ([]TaskReached, error) {
	p := b.plane
	var stood map[positions.Task]positions.Record
	// A job that stands at the savepoint has come exactly as far as that says.
	if at := current.State; at.State != Reset && !(at.State == Stopped && at.Savepoint == from.Ref.ID) {
		var err error
		if stood, err = p.stood(ctx, current.Generation); err != nil {
			return nil, err
		}
	}
	all, left := fit(inheritTasks(sources, from.Manifest, current.Generation, stood), maxReachedBytes)
	if len(left) > 0 {
		p.settings.Logger.Warn("outputs of these stages that are emitted again will not say so: there are too many partitions to keep how far each task was", "stages", left)
	}
	return all, nil
}

// stood is where every task of a generation was when it committed last.
func (p *Plane) stood(ctx context.Context, g Generation) (map[positions.Task]positions.Record, error) {
	ref, ok := g.Topic(PositionsTopic(g.Job, g.Generation))
	if !ok {
		return nil, nil // no generation before
	}
	found, err := p.find(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	if have, ok := found[ref.Name]; !ok || have.ID != ref.ID {
		p.settings.Logger.Warn("the positions of the generation before are gone: outputs that are emitted again may not say so", "topic", ref.Name)
		return nil, nil
	}
	starts, ends, err := p.logEnds(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("procd/control: offsets of %s: %w", ref.Name, err)
	}
	bounds := make(map[int32]positions.Bounds, ref.Partitions)
	for n := range ref.Partitions {
		bounds[n] = positions.Bounds{Start: starts[n], End: ends[n]}
	}
	var tasks []positions.Task
	for _, s := range g.Stages {
		for n := range s.Partitions {
			tasks = append(tasks, positions.Task{Stage: s.ID, Partition: n})
		}
	}
	opts, err := p.settings.Cluster.Opts()
	if err != nil {
		return nil, err
	}
	topic := positions.Topic{Name: ref.Name, Options: append(opts, kgo.MetadataMinAge(100*time.Millisecond)), Stalled: p.fence}
	return topic.Read(ctx, bounds, tasks)
}

// logEnds are the log starts and high watermarks of a topic's partitions.
func (p *Plane) logEnds(ctx context.Context, t TopicRef) (starts, ends []int64, err error) {
	first, err := p.adm.ListStartOffsets(ctx, t.Name)
	if err == nil {
		starts, err = listed(first, t.Name, t.Partitions)
	}
	if err != nil {
		return nil, nil, err
	}
	last, err := p.adm.ListEndOffsets(ctx, t.Name)
	if err == nil {
		ends, err = listed(last, t.Name, t.Partitions)
	}
	return starts, ends, err
}
