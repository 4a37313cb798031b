package config

import (
	"os"
	"path/filepath"
	"time"

	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/topology"
)

// DefaultCommit is how often a transaction ends without guarantees.commit.
const DefaultCommit = 100 * time.Millisecond

// Bounds of guarantees.commit: below, a broker does nothing else; above, a
// transaction comes near its timeout (T7).
const (
	minCommit = 5 * time.Millisecond
	maxCommit = 5 * time.Second
)

// JobFile is a job file that was read and found right.
type JobFile struct {
	Name   string        // the job's
	Commit time.Duration // between the ends of transactions

	job    *topology.Job
	types  string
	source *source
	output string
	states map[string][]row.Field
	tests  []*test
}

// source is what tests need to know of the input.
type source struct {
	topic string
	wire  *wire
	key   *row.Field
}

// Job is the job, ready to be planned.
func (j *JobFile) Job() *topology.Job { return j.job }

// Types is the fields after each step, a line each: `procd validate --types`.
func (j *JobFile) Types() string { return j.types }

// Load reads a job file. Its mistakes are [Errors].
func Load(path string) (*JobFile, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, Errors{{File: path, Msg: reason(err)}}
	}
	return Parse(path, src)
}

func reason(err error) string {
	if os.IsNotExist(err) {
		return "there is no such file"
	}
	return err.Error()
}

// Parse reads the content of a job file. name stands in messages, and paths in
// the file are relative to its directory.
func Parse(name string, src []byte) (*JobFile, error) {
	r := newReader(name)
	j := r.job(src)
	if len(r.errs) > 0 {
		r.errs.sort()
		return nil, r.errs
	}
	if _, err := j.job.Plan(); err != nil {
		return nil, Errors{{File: name, Msg: err.Error()}}
	}
	return j, nil
}

// job reads the whole file. The result counts only if there are no mistakes.
func (r *reader) job(src []byte) *JobFile {
	root := r.open(src)
	if root == nil {
		return nil
	}
	top := r.section(root, jobObject, "")
	if top == nil {
		return nil
	}
	f := &flow{reader: r, names: map[string]yamlpos.Pos{}, states: map[string][]row.Field{}}
	name := f.jobName(top)
	f.job = topology.New(name)
	j := &JobFile{Name: name, job: f.job, Commit: r.commit(top)}
	input := top.found["input"]
	if input == nil {
		return j
	}
	in := r.section(input, inputObject, "input")
	if in == nil {
		return j
	}
	f.input(in)
	if n := top.found["steps"]; n != nil {
		f.steps(n)
	}
	if n := top.found["output"]; n != nil {
		if s := r.section(n, outputObject, "output"); s != nil {
			f.output(s)
		}
	}
	j.types, j.source, j.output, j.states = f.types.String(), f.source, f.outputTopic, f.states
	if n := top.found["tests"]; n != nil {
		j.tests = r.tests(n, j, filepath.Dir(r.file))
	}
	if s := r.savepoints(top); s != (topology.Schedule{}) {
		f.job.With(topology.Savepoints(s.Every, s.Keep))
	}
	f.job.With(topology.Definition(r.vars.definition(src)))
	return j
}

// commands are words that the command line takes where a job's name could be.
var commands = map[string]bool{"ls": true, "inspect": true, "verify": true, "check": true, "export": true, "rm": true}

func (f *flow) jobName(top *section) string {
	name := top.name("job")
	if commands[name] {
		top.fail("job", "", "%q is a word of the command line, and no name of a job", name)
	}
	return name
}

func (r *reader) commit(top *section) time.Duration {
	n := top.found["guarantees"]
	if n == nil {
		return DefaultCommit
	}
	s := r.section(n, guaranteesObject, "guarantees")
	if s == nil {
		return DefaultCommit
	}
	d := s.duration("commit", DefaultCommit)
	if d < minCommit || d > maxCommit {
		s.fail("commit", "", "commit is between %v and %v", minCommit, maxCommit)
	}
	return d
}

// savepoints reads the schedule; the zero one if there is none.
func (r *reader) savepoints(top *section) topology.Schedule {
	n := top.found["savepoints"]
	if n == nil {
		return topology.Schedule{}
	}
	s := r.section(n, savepointsObject, "savepoints")
	if s == nil || s.found["every"] == nil {
		return topology.Schedule{}
	}
	before := len(r.errs)
	every := s.duration("every", 0)
	if len(r.errs) == before && every < topology.MinSavepointEvery {
		s.fail("every", "write 6h, or 15m", "savepoints are at least %v apart", topology.MinSavepointEvery)
	}
	schedule := topology.Schedule{Every: every, Keep: s.count("keep")}
	if len(r.errs) > before {
		return topology.Schedule{} // not twice, by the plan
	}
	return schedule
}
