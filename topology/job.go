package topology

import (
	"errors"
	"fmt"
)

// Job is a dataflow under construction. It is built by one goroutine; after
// [Job.Plan] it must not be changed.
type Job struct {
	name       string
	definition string
	schedule   Schedule
	ops        []*op // in order of construction
	errs       []error
}

// JobOption configures [New].
type JobOption func(*Job)

// Definition sets the text that defines the job beside its graph: the content
// of its YAML file, or a hash of its executable. It is part of [Plan.Hash], so
// that two processes that would compute differently never share a generation
// (P2).
func Definition(text string) JobOption {
	return func(j *Job) { j.definition = text }
}

// New starts a job. Names match ^[a-z0-9][a-z0-9-]{0,62}$; [Job.Plan] checks.
func New(name string, opts ...JobOption) *Job {
	j := &Job{name: name}
	j.With(opts...)
	return j
}

// With applies further options and returns j.
func (j *Job) With(opts ...JobOption) *Job {
	for _, o := range opts {
		o(j)
	}
	return j
}

// Name returns the job's name.
func (j *Job) Name() string { return j.name }

// errorf notes a mistake made while building; Plan reports them all.
func (j *Job) errorf(format string, args ...any) {
	j.errs = append(j.errs, fmt.Errorf("procd/topology: "+format, args...))
}

// Plan checks the whole job and returns what has to exist for it to run. The
// error joins everything that is wrong; each part names the step and says what
// to do.
func (j *Job) Plan() (*Plan, error) {
	if err := errors.Join(append(j.errs[:len(j.errs):len(j.errs)], j.check()...)...); err != nil {
		return nil, err
	}
	return newPlan(j), nil
}

// opKind is the sort of a step. Its text is what messages and pictures show.
type opKind string

const (
	opFrom     opKind = "From"
	opMap      opKind = "Map"
	opFilter   opKind = "Filter"
	opFlatMap  opKind = "FlatMap"
	opProcess  opKind = "Process"
	opReduce   opKind = "Reduce"
	opKeyBy    opKind = "KeyBy"
	opTo       opKind = "To"
	opToStdout opKind = "ToStdout"
)

func (k opKind) stateful() bool { return k == opProcess || k == opReduce }

// reads says whether a step of this kind starts a stage.
func (k opKind) reads() bool { return k == opFrom || k == opKeyBy }

// op is the untyped side of a step: what the plan needs to know. The typed side
// is in the closures that a [node] holds.
type op struct {
	kind opKind
	name string // topic, uid or name; empty where a step has none
	in   *op    // nil: From
	used bool   // some step takes its stream

	source      *SourceSpec // From
	onBad       Policy      // From
	keyType     string      // From, KeyBy
	schema      string      // Process, Reduce
	partitioner Partitioner // To

	// start makes, for a task, the function that takes the stage's records.
	start func(b *builder) func(*Record) // From, KeyBy
	// keyOf computes a record's key from its value; nil without a key field.
	keyOf func() func(value []byte) ([]byte, error) // From
}

// String names the step in messages.
func (o *op) String() string {
	if o.name != "" {
		return fmt.Sprintf("%s %q", o.kind, o.name)
	}
	if o.in == nil {
		return string(o.kind)
	}
	return fmt.Sprintf("%s after %v", o.kind, o.in)
}

// root is the step that starts o's stage.
func (o *op) root() *op {
	for !o.kind.reads() {
		o = o.in
	}
	return o
}

// add appends a step to the job and marks the stream it takes as used.
func (j *Job) add(o *op) *op {
	j.ops = append(j.ops, o)
	if o.in != nil {
		o.in.used = true
	}
	return o
}
