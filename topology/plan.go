package topology

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Plan is a checked job: what has to exist in Kafka and on disk for it to run.
// It does not change and may be shared by goroutines.
type Plan struct {
	Job string
	// Hash is the SHA-256, in hexadecimal, of all that the plan says and of
	// Definition. Processes of one revision have the same (P2).
	Hash string
	// Definition is the text given with the [Definition] option.
	Definition string
	Topics     []Topic
	Stages     []*Stage // in the order in which the job reads topics
	Stores     []StoreSpec
	// Savepoints are those that the job takes by itself: see [Savepoints].
	Savepoints Schedule

	ops     []*op
	topicOf map[*op]int // what a step reads or writes
}

// TopicKind says what a topic is for.
type TopicKind string

// The kinds of topics.
const (
	SourceTopic      TopicKind = "source"
	RepartitionTopic TopicKind = "repartition"
	OutputTopic      TopicKind = "output"
	DeadLetterTopic  TopicKind = "dead-letter"
	StdoutTopic      TopicKind = "stdout" // not a topic: the standard output
)

// Topic is a topic of a plan.
type Topic struct {
	// Name is the topic's name in Kafka; of a repartition topic the name given
	// to KeyBy, which is a part of it.
	Name string
	Kind TopicKind
	// Partitioner is the producer's; of an output, what procd uses.
	Partitioner Partitioner
}

// Stage is the steps between two topics. Each partition of its inputs makes one
// task.
type Stage struct {
	// ID is "in:" and the source topics, sorted, joined by ","; or "by:" and
	// the name of the KeyBy.
	ID      string
	Inputs  []Input
	Stores  []string // uids
	Outputs []int    // indexes in Plan.Topics, ascending, dead letters included

	roots []*op // the step that starts at each input
}

// Input is a topic that a stage reads.
type Input struct {
	Topic  int         // index in Plan.Topics
	Source *SourceSpec // nil: a repartition topic
	// OnBadRecord is the source's policy, handed on to later stages.
	OnBadRecord Policy
}

// StoreSpec is a store of a plan.
type StoreSpec struct {
	UID    string
	Stage  string // id
	Schema string // Avro, as JSON
	// KeyType says what the keys are the text of: int, string, bool, bytes or
	// composite.
	KeyType string
}

// newPlan makes the plan of a job that was checked.
func newPlan(j *Job) *Plan {
	p := &Plan{Job: j.name, Definition: j.definition, Savepoints: j.schedule, ops: j.ops, topicOf: make(map[*op]int)}
	stages := make(map[*op]*Stage)
	for _, o := range j.ops {
		if o.kind.reads() {
			stages[o] = p.addStage(o)
		}
	}
	for _, o := range j.ops {
		if o.in == nil {
			continue
		}
		s := stages[o.in.root()]
		switch {
		case o.kind.stateful():
			s.Stores = append(s.Stores, o.name)
			p.Stores = append(p.Stores, StoreSpec{UID: o.name, Stage: s.ID, Schema: o.schema, KeyType: o.in.root().keyType})
		case o.kind == opTo:
			p.topicOf[o] = p.addTopic(Topic{o.name, OutputTopic, o.partitioner})
			s.addOutput(p.topicOf[o])
		case o.kind == opToStdout:
			p.topicOf[o] = p.addTopic(Topic{"stdout", StdoutTopic, Any})
			s.addOutput(p.topicOf[o])
		case o.kind == opKeyBy:
			s.addOutput(p.topicOf[o])
		}
	}
	sum := sha256.Sum256([]byte(p.canonical()))
	p.Hash = hex.EncodeToString(sum[:])
	return p
}

// addStage adds the stage that starts at a step, and the topics it needs from
// the start.
func (p *Plan) addStage(o *op) *Stage {
	source := o
	for source.in != nil {
		source = source.in
	}
	in := Input{Source: o.source, OnBadRecord: source.onBad}
	s := &Stage{ID: "by:" + o.name, roots: []*op{o}}
	if o.kind == opFrom {
		s.ID = "in:" + o.name
		in.Topic = p.addTopic(Topic{o.name, SourceTopic, o.source.Partitioner})
	} else {
		in.Topic = p.addTopic(Topic{o.name, RepartitionTopic, Murmur2})
	}
	p.topicOf[o] = in.Topic
	if dead, ok := in.OnBadRecord.Topic(); ok {
		s.addOutput(p.addTopic(Topic{dead, DeadLetterTopic, Murmur2}))
	}
	s.Inputs = []Input{in}
	p.Stages = append(p.Stages, s)
	return s
}

// addTopic finds or adds a topic and returns its index.
func (p *Plan) addTopic(t Topic) int {
	if i := p.topic(t.Kind, t.Name); i >= 0 {
		return i
	}
	p.Topics = append(p.Topics, t)
	return len(p.Topics) - 1
}

// topic finds a topic; -1 if there is none.
func (p *Plan) topic(kind TopicKind, name string) int {
	return slices.IndexFunc(p.Topics, func(t Topic) bool { return t.Kind == kind && t.Name == name })
}

func (s *Stage) addOutput(topic int) {
	if i, found := slices.BinarySearch(s.Outputs, topic); !found {
		s.Outputs = slices.Insert(s.Outputs, i, topic)
	}
}

// canonical is the text whose hash is the plan's: everything that two processes
// have to agree on.
func (p *Plan) canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "procd plan 1\njob %q\n", p.Job)
	for _, t := range p.Topics {
		fmt.Fprintf(&b, "topic %q %s %s\n", t.Name, t.Kind, t.Partitioner)
	}
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "stage %q outputs %v stores %q\n", s.ID, s.Outputs, s.Stores)
		for _, in := range s.Inputs {
			fmt.Fprintf(&b, "input %d bad %q", in.Topic, in.OnBadRecord)
			if in.Source != nil {
				fmt.Fprintf(&b, " source %+v", *in.Source)
			}
			b.WriteByte('\n')
		}
	}
	for _, s := range p.Stores {
		fmt.Fprintf(&b, "store %q stage %q key %s schema %q\n", s.UID, s.Stage, s.KeyType, s.Schema)
	}
	for _, o := range p.ops {
		fmt.Fprintf(&b, "step %s %q after %d\n", o.kind, o.name, slices.Index(p.ops, o.in))
	}
	fmt.Fprintf(&b, "definition %q\n", p.Definition)
	return b.String()
}
