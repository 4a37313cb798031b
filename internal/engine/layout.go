package engine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// layout is the plan of a job with the names of one generation in it: what the
// worker looks up by topic name or by index.
type layout struct {
	topics   []topicLayout // by index in topology.Plan.Topics
	stages   []stageLayout
	byTopic  map[string]int      // input topic -> stage
	internal map[string]struct{} // topics whose partitions the engine chooses
}

// topicLayout is one topic of the plan.
type topicLayout struct {
	name        string // in Kafka
	kind        topology.TopicKind
	partitioner topology.Partitioner
	partitions  int32 // of a repartition topic
}

// newLayout joins a plan with the generation that it runs in.
func newLayout(plan *topology.Plan, lease *control.Lease) (*layout, error) {
	g := &lease.Generation
	l := &layout{byTopic: map[string]int{}, internal: map[string]struct{}{
		control.PositionsTopic(lease.Job, g.Generation): {},
	}}
	for _, t := range plan.Topics {
		tl := topicLayout{name: t.Name, kind: t.Kind, partitioner: t.Partitioner}
		if t.Kind == topology.RepartitionTopic {
			tl.name = control.RepartitionTopic(lease.Job, g.Generation, t.Name)
			ref, ok := g.Topic(tl.name)
			if !ok {
				return nil, fmt.Errorf("procd/engine: generation %d has no topic %s", g.Generation, tl.name)
			}
			tl.partitions = ref.Partitions
			l.internal[tl.name] = struct{}{}
		}
		l.topics = append(l.topics, tl)
	}
	for i, stage := range plan.Stages {
		sl, err := l.newStage(stage, lease)
		if err != nil {
			return nil, err
		}
		for _, topic := range sl.inputs {
			l.byTopic[topic] = i
		}
		l.stages = append(l.stages, sl)
	}
	return l, nil
}

func (l *layout) newStage(stage *topology.Stage, lease *control.Lease) (stageLayout, error) {
	g := &lease.Generation
	sl := stageLayout{id: stage.ID}
	for _, in := range stage.Inputs {
		topic := l.topics[in.Topic]
		ref, ok := g.Topic(topic.name)
		if !ok {
			return sl, fmt.Errorf("procd/engine: generation %d has no topic %s", g.Generation, topic.name)
		}
		sl.inputs = append(sl.inputs, topic.name)
		sl.inputIDs = append(sl.inputIDs, ref.ID)
		sl.starts = append(sl.starts, g.Start[topic.name])
		sl.internal = append(sl.internal, in.Source == nil)
		sl.source = sl.source || in.Source != nil
		sl.partitions = max(sl.partitions, ref.Partitions)
	}
	for _, uid := range stage.Stores {
		st := storeLayout{uid: uid, changelog: control.ChangelogTopic(lease.Job, g.Generation, uid)}
		ref, ok := g.Topic(st.changelog)
		if !ok {
			return sl, fmt.Errorf("procd/engine: generation %d has no topic %s", g.Generation, st.changelog)
		}
		st.topicID = ref.ID
		if st.versions, st.current, ok = lease.Schemas(uid); !ok {
			return sl, fmt.Errorf("procd/engine: generation %d has no schema of %s", g.Generation, uid)
		}
		l.internal[st.changelog] = struct{}{}
		sl.stores = append(sl.stores, st)
	}
	return sl, nil
}

// stageLayout is one stage. A task takes the same partition number of each of
// its topics.
type stageLayout struct {
	id         string
	inputs     []string // by index of the input
	inputIDs   [][16]byte
	starts     [][]int64 // by input and partition: the generation record's offsets
	internal   []bool    // by input: whether it is a repartition topic
	source     bool      // whether an input is a source
	partitions int32
	stores     []storeLayout
}

// storeLayout is one store of a stage.
type storeLayout struct {
	uid       string
	changelog string
	topicID   [16]byte
	versions  []kstate.SchemaVersion
	current   int
}

func (s *stageLayout) input(topic string) int { return slices.Index(s.inputs, topic) }

// start is the generation record's offset of an input; a repartition topic,
// new in each generation, starts at 0.
func (s *stageLayout) start(input int, partition int32) int64 {
	if s.internal[input] {
		return 0
	}
	return s.starts[input][partition]
}

// onDisk reports whether a task's state lies in the seat's directory.
func (s *stageLayout) onDisk(at *seat.Seat, generation int, partition int32) bool {
	for _, st := range s.stores {
		if !kstate.Finished(at.StoreDir(generation, st.uid, partition)) {
			return false
		}
	}
	return len(s.stores) > 0
}

func (l *layout) partitions() []int32 {
	n := make([]int32, len(l.stages))
	for i, s := range l.stages {
		n[i] = s.partitions
	}
	return n
}

// tasks are all tasks of the job.
func (l *layout) tasks() []taskRef {
	var refs []taskRef
	for i, s := range l.stages {
		for n := range s.partitions {
			refs = append(refs, taskRef{i, n})
		}
	}
	return refs
}

func (l *layout) stageOf(topic string) (int, bool) {
	stage, ok := l.byTopic[topic]
	return stage, ok
}

// stageByID returns the index of the stage, -1 if there is none.
func (l *layout) stageByID(id string) int {
	return slices.IndexFunc(l.stages, func(s stageLayout) bool { return s.id == id })
}

// wholeTasks returns the tasks of which an assignment holds every input (P19).
func (l *layout) wholeTasks(assigned map[string][]int32) map[taskRef]struct{} {
	inputs := map[taskRef]int{}
	for topic, partitions := range assigned {
		stage, ok := l.byTopic[topic]
		if !ok {
			continue
		}
		for _, p := range partitions {
			inputs[taskRef{stage, p}]++
		}
	}
	whole := map[taskRef]struct{}{}
	for t, n := range inputs {
		if n == len(l.stages[t.stage].inputs) {
			whole[t] = struct{}{}
		}
	}
	return whole
}

// inputTopics lists what the group's members subscribe to.
func (l *layout) inputTopics() []string { return sortedKeys(l.byTopic) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
