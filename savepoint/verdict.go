package savepoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/procd/procd/topology"
)

// Rule is the id of a rule of the verdict. docs/format/savepoint.md has the
// table of all of them.
type Rule string

// The rules. Those that refuse name the flag that accepts, if there is one.
const (
	RuleJobName         Rule = "job-name"         // the savepoint is of a job of another name
	RuleStoreMissing    Rule = "store-missing"    // refuses: the job has no such uid; --drop
	RuleStoreDropped    Rule = "store-dropped"    // --drop takes effect
	RuleStoreNew        Rule = "store-new"        // starts empty
	RuleStoreSwapped    Rule = "store-swapped"    // warns, refuses: two stores may have, or have, exchanged their uids
	RuleStoreMoved      Rule = "store-moved"      // the store is in another stage now
	RulePartitioner     Rule = "partitioner"      // refuses: keys would be looked for on other partitions
	RuleDropUnknown     Rule = "drop-unknown"     // refuses: --drop names nothing, or what the job has
	RuleKeyType         Rule = "key-type"         // refuses: the keys are of another type
	RuleSchema          Rule = "schema"           // refuses: rows cannot be read as the new type
	RuleSchemaChanged   Rule = "schema-changed"   // rows are read as the new type; warns where it has fields less
	RuleTopicMissing    Rule = "topic-missing"    // refuses: the topic does not exist
	RuleTopicID         Rule = "topic-id"         // refuses: the topic was deleted and made again (O4)
	RulePartitions      Rule = "partitions"       // refuses: the number of partitions changed (O5)
	RuleSourceDropped   Rule = "source-dropped"   // warns: the job does not read the topic any more
	RuleSourceNew       Rule = "source-new"       // the topic is read from input.start
	RuleOffsetsLost     Rule = "offsets-lost"     // refuses: retention removed records; --accept-gap (O1)
	RuleGapAccepted     Rule = "gap-accepted"     // --accept-gap takes effect
	RuleOffsetsBeyond   Rule = "offsets-beyond"   // refuses: the topic ends before the savepoint's offset (O6)
	RuleStagePartitions Rule = "stage-partitions" // refuses: the store's stage has another number of partitions
)

// Level says what a line of a verdict means for a start.
type Level string

const (
	Note   Level = "note"   // what changes
	Warn   Level = "warn"   // what may not be meant
	Refuse Level = "refuse" // what would lose or mix data
)

// Line is one line of a verdict.
type Line struct {
	Rule    Rule   `json:"rule"`
	Level   Level  `json:"level"`
	Subject string `json:"subject"` // uid, topic or topic/partition
	// Count is the number of rows or records concerned.
	Count int64  `json:"count"`
	Text  string `json:"text"`
	// Flag, of a refusal, is the flag that accepts it; "" if none does.
	Flag string `json:"flag,omitempty"`
	// Hint, of a refusal, is what else can be done.
	Hint string `json:"hint,omitempty"`
}

// Verdict says whether a job can start from a savepoint.
type Verdict struct {
	// Lines are only what changes.
	Lines []Line `json:"lines"`
	OK    bool   `json:"ok"`
	// Flags are those that the verdict's lines ask for or used, in the order to
	// print them; with them the start would be accepted.
	Flags []string `json:"flags,omitempty"`
	// Command is the exact next command: the start, with the flags that accept
	// what can be accepted. Empty where no flag helps.
	Command string `json:"command,omitempty"`
}

// Plan is what the verdict needs to know of the job that is to start.
type Plan struct {
	Job    string
	Stages []PlanStage
	Stores []PlanStore // in the order of the job
}

// PlanStage is a stage of a Plan.
type PlanStage struct {
	ID      string
	Sources []string // topics; none in a stage behind a KeyBy
	// Partitions, if not 0, is how many the stage will have. A stage with
	// sources takes theirs.
	Partitions  int32
	Partitioner topology.Partitioner
}

// PlanStore is a store of a Plan.
type PlanStore struct {
	UID, Stage, KeyType, Schema string
}

// PlanOf takes from a job's plan what the verdict needs.
func PlanOf(p *topology.Plan) Plan {
	plan := Plan{Job: p.Job}
	for _, s := range p.Stages {
		stage := PlanStage{ID: s.ID}
		for _, in := range s.Inputs {
			t := p.Topics[in.Topic]
			stage.Partitioner = t.Partitioner
			if in.Source != nil {
				stage.Sources = append(stage.Sources, t.Name)
				stage.Partitioner = in.Source.Partitioner
			}
		}
		plan.Stages = append(plan.Stages, stage)
	}
	for _, s := range p.Stores {
		plan.Stores = append(plan.Stores, PlanStore{UID: s.UID, Stage: s.Stage, KeyType: s.KeyType, Schema: s.Schema})
	}
	return plan
}

// TopicFacts are what the brokers say of a source topic.
type TopicFacts struct {
	Missing    bool // there is no such topic
	ID         string
	Partitions int32
	// Start and End are, per partition, the offset of the first record that is
	// there and of the next one that will be written.
	Start, End []int64
}

// Options are what the user wants and what the brokers say.
type Options struct {
	Drop      []string // --drop
	AcceptGap bool     // --accept-gap
	// Topics are the facts of every source topic of the job and the savepoint.
	// Nil: no broker was asked, and what needs one is not judged.
	Topics map[string]TopicFacts
	// Savepoint and JobFile are what the next command is to name; a job in Go
	// has no file.
	Savepoint, JobFile string
}

// Judge says whether a job can start from a savepoint, and why. It is pure; the
// same verdict is printed by savepoint-check and decides at a start. Its
// scenarios are testdata/verdict-*.txt.
func Judge(m *Manifest, plan Plan, o Options) Verdict {
	j := &judge{m: m, plan: plan, o: o}
	if m.Job != plan.Job {
		j.add(Line{Rule: RuleJobName, Level: Note, Subject: m.Job, Text: fmt.Sprintf("the savepoint is of job %s; %s starts with a copy of its state", m.Job, plan.Job)})
	}
	j.drops()
	for i := range m.Stores {
		j.store(&m.Stores[i])
	}
	j.newStores()
	j.swaps()
	j.topics()
	return j.verdict()
}

// judge collects lines.
type judge struct {
	m     *Manifest
	plan  Plan
	o     Options
	lines []Line
}

func (j *judge) add(l Line) { j.lines = append(j.lines, l) }

func (j *judge) verdict() Verdict {
	v := Verdict{Lines: j.lines, OK: true}
	acceptable := true
	for _, uid := range j.o.Drop {
		v.Flags = appendNew(v.Flags, "--drop "+uid)
	}
	if j.o.AcceptGap {
		v.Flags = appendNew(v.Flags, "--accept-gap")
	}
	for _, l := range j.lines {
		if l.Level != Refuse {
			continue
		}
		v.OK = false
		if l.Flag == "" {
			acceptable = false
		} else {
			v.Flags = appendNew(v.Flags, l.Flag)
		}
	}
	if acceptable {
		words := append([]string{"procd start --savepoint", j.o.Savepoint}, v.Flags...)
		if j.o.JobFile != "" {
			words = append(words, j.o.JobFile)
		}
		v.Command = strings.Join(words, " ")
	}
	return v
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (j *judge) planStore(uid string) (PlanStore, bool) {
	i := slices.IndexFunc(j.plan.Stores, func(s PlanStore) bool { return s.UID == uid })
	if i < 0 {
		return PlanStore{}, false
	}
	return j.plan.Stores[i], true
}

func (j *judge) planStage(id string) (PlanStage, bool) {
	i := slices.IndexFunc(j.plan.Stages, func(s PlanStage) bool { return s.ID == id })
	if i < 0 {
		return PlanStage{}, false
	}
	return j.plan.Stages[i], true
}

func (j *judge) stage(id string) Stage {
	i := slices.IndexFunc(j.m.Stages, func(s Stage) bool { return s.ID == id })
	if i < 0 {
		return Stage{ID: id}
	}
	return j.m.Stages[i]
}
