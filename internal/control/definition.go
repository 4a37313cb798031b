package control

import (
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// Definition is what deciding needs to know of a job's plan. [Define] makes
// one; the decider's scenarios write theirs as text.
type Definition struct {
	Hash    string
	Text    string // the plan as people read it
	Stages  []StageDefinition
	Stores  []StoreDefinition
	Sources []SourceDefinition
	Outputs []string // topics the user owns and the job writes
}

// StageDefinition is one stage: its inputs are source topics and the short
// names of repartition topics.
type StageDefinition struct {
	ID           string
	Sources      []string
	Repartitions []string
	// Feeds are the short names of the repartition topics that it writes.
	Feeds []string
	// Partitioner is what puts keys on the partitions of its inputs (P24).
	Partitioner topology.Partitioner
}

// StoreDefinition is one store.
type StoreDefinition struct {
	UID, Stage, KeyType string
	Schema              string // Avro, of the values
}

// SourceDefinition is one source topic and where a first start reads it from.
type SourceDefinition struct {
	Topic string
	Start topology.Start
}

// Define takes from a plan what deciding needs to know of it.
func Define(plan *topology.Plan) Definition {
	d := Definition{Hash: plan.Hash, Text: plan.Definition}
	judged := savepoint.PlanOf(plan)
	for i, s := range plan.Stages {
		stage := defineStage(plan, s)
		stage.Partitioner = judged.Stages[i].Partitioner
		d.Stages = append(d.Stages, stage)
		for _, in := range s.Inputs {
			if in.Source != nil {
				d.Sources = append(d.Sources, SourceDefinition{Topic: plan.Topics[in.Topic].Name, Start: in.Source.Start})
			}
		}
	}
	for _, s := range plan.Stores {
		d.Stores = append(d.Stores, StoreDefinition{UID: s.UID, Stage: s.Stage, KeyType: s.KeyType, Schema: s.Schema})
	}
	for _, t := range plan.Topics {
		if t.Kind == topology.OutputTopic || t.Kind == topology.DeadLetterTopic {
			d.Outputs = append(d.Outputs, t.Name)
		}
	}
	return d
}

func defineStage(plan *topology.Plan, s *topology.Stage) StageDefinition {
	stage := StageDefinition{ID: s.ID}
	for _, in := range s.Inputs {
		name := plan.Topics[in.Topic].Name
		if in.Source != nil {
			stage.Sources = append(stage.Sources, name)
		} else {
			stage.Repartitions = append(stage.Repartitions, name)
		}
	}
	for _, out := range s.Outputs {
		if plan.Topics[out].Kind == topology.RepartitionTopic {
			stage.Feeds = append(stage.Feeds, plan.Topics[out].Name)
		}
	}
	return stage
}

// userTopics are the topics that must exist before the job starts.
func (d Definition) userTopics() []string {
	var topics []string
	for _, s := range d.Sources {
		topics = append(topics, s.Topic)
	}
	return append(topics, d.Outputs...)
}
