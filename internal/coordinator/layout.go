package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/topology"
)

// Stage is what the machine knows of a stage of the job.
type Stage struct {
	ID         string
	Partitions int32
	Stores     []string // uids
	Reads      []string // repartition topics it reads, by their names in Kafka
	Writes     []string // repartition topics it writes
}

// Stages joins a plan with the generation that it runs in.
func Stages(plan *topology.Plan, g *control.Generation) ([]Stage, error) {
	name := func(topic int) (string, bool) {
		t := plan.Topics[topic]
		return control.RepartitionTopic(g.Job, g.Generation, t.Name), t.Kind == topology.RepartitionTopic
	}
	stages := make([]Stage, 0, len(plan.Stages))
	for _, s := range plan.Stages {
		i := slices.IndexFunc(g.Stages, func(r control.StageRef) bool { return r.ID == s.ID })
		if i < 0 {
			return nil, fmt.Errorf("procd/coordinator: generation %d has no stage %s", g.Generation, s.ID)
		}
		stage := Stage{ID: s.ID, Partitions: g.Stages[i].Partitions, Stores: s.Stores}
		for _, in := range s.Inputs {
			if topic, ok := name(in.Topic); ok {
				stage.Reads = append(stage.Reads, topic)
			}
		}
		for _, out := range s.Outputs {
			if topic, ok := name(out); ok {
				stage.Writes = append(stage.Writes, topic)
			}
		}
		stages = append(stages, stage)
	}
	return stages, nil
}

// layout is the plan as the machine uses it.
type layout struct {
	stages map[string]Stage
	tasks  []task
	// waves are the stages in the order of cutting: what a wave reads is
	// written by earlier ones only (P12).
	waves [][]string
}

// task is one partition of a stage.
type task struct {
	stage     string
	partition int32
}

func (t task) String() string { return fmt.Sprintf("%s/%d", t.stage, t.partition) }

func newLayout(stages []Stage) (*layout, error) {
	l := &layout{stages: make(map[string]Stage, len(stages))}
	for _, s := range stages {
		l.stages[s.ID] = s
		for p := range s.Partitions {
			l.tasks = append(l.tasks, task{s.ID, p})
		}
	}
	if len(l.tasks) == 0 {
		return nil, fmt.Errorf("procd/coordinator: the job has no tasks")
	}
	return l, l.order(stages)
}

// order puts each stage into the first wave after those of its writers.
func (l *layout) order(rest []Stage) error {
	rest = slices.Clone(rest)
	for len(rest) > 0 {
		pending := slices.Clone(rest)
		var wave []string
		rest = slices.DeleteFunc(rest, func(s Stage) bool {
			waits := slices.ContainsFunc(pending, func(up Stage) bool {
				return slices.ContainsFunc(up.Writes, func(t string) bool { return slices.Contains(s.Reads, t) })
			})
			if !waits {
				wave = append(wave, s.ID)
			}
			return !waits
		})
		if len(wave) == 0 {
			return fmt.Errorf("procd/coordinator: stages read each other's outputs in a circle: %s", stageIDs(pending))
		}
		l.waves = append(l.waves, wave)
	}
	return nil
}

func stageIDs(stages []Stage) string {
	ids := make([]string, len(stages))
	for i, s := range stages {
		ids[i] = s.ID
	}
	return strings.Join(ids, ", ")
}

// upTo are the stages of the first n waves.
func (l *layout) upTo(n int) []string { return slices.Concat(l.waves[:n]...) }

// reads are the repartition topics that a wave reads.
func (l *layout) reads(wave int) []string {
	var topics []string
	for _, id := range l.waves[wave] {
		topics = append(topics, l.stages[id].Reads...)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}
