package topology

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	nameRE  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	topicRE = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
)

// internalPrefix starts the names of control, changelog, repartition and
// position topics.
const internalPrefix = "procd."

// reservedJobs are words of `procd savepoint`, which takes a job's name in the
// same place.
var reservedJobs = []string{"ls", "inspect", "verify", "check", "export", "rm"}

// checker collects what is wrong with a job.
type checker struct {
	job  *Job
	errs []error
}

func (c *checker) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("procd/topology: "+format, args...))
}

// check finds what is wrong with the job as a whole.
func (j *Job) check() []error {
	c := &checker{job: j}
	c.jobName()
	c.names()
	c.topics()
	for _, o := range j.ops {
		c.step(o)
	}
	if !slices.ContainsFunc(j.ops, func(o *op) bool { return o.kind == opFrom }) {
		c.errorf("job %q reads no topic; start with From", j.name)
	}
	return c.errs
}

func (c *checker) jobName() {
	switch name := c.job.name; {
	case !nameRE.MatchString(name):
		c.errorf("job name %q does not match %s; rename it", name, nameRE)
	case slices.Contains(reservedJobs, name):
		c.errorf("job name %q is a word of the procd command; rename it", name)
	}
}

// names checks uids and the names of KeyBys, which share one name space: both
// become parts of topic names.
func (c *checker) names() {
	seen := make(map[string]*op)
	for _, o := range c.job.ops {
		if !o.kind.stateful() && o.kind != opKeyBy {
			continue
		}
		word := "uid"
		if o.kind == opKeyBy {
			word = "name"
		}
		switch first := seen[o.name]; {
		case o.name == "":
			c.errorf("%v has no %s; give it one that stays the same when the job is changed", o, word)
		case !nameRE.MatchString(o.name):
			c.errorf("%v: the %s does not match %s; rename it", o, word, nameRE)
		case first != nil:
			c.errorf("%v: the %s is taken by %v; each needs its own", o, word, first)
		default:
			seen[o.name] = o
		}
	}
}

// topics checks that each topic has one role. A topic that is read and written
// would feed the job its own results; dead letters among outputs could not be
// told apart.
func (c *checker) topics() {
	roles := make(map[string]*op)
	outputs := make(map[string]*op)
	for _, o := range c.job.ops {
		switch o.kind {
		case opFrom:
			c.topicName(o, o.name)
			if first := roles[o.name]; first != nil {
				c.errorf("%v: the topic is read twice; use the stream of the first From for both", o)
			}
			roles[o.name] = o
		case opTo:
			c.written(o, o.name)
			if first := outputs[o.name]; first != nil && first.partitioner != o.partitioner {
				c.errorf("%v: written with partitioner %s here and %s elsewhere; use one", o, o.partitioner, first.partitioner)
			}
			outputs[o.name] = o
		}
	}
	for name, o := range outputs {
		if roles[name] != nil {
			c.errorf("%v: the job reads this topic too; write to another one", o)
		}
	}
	for _, o := range c.job.ops {
		dead, ok := o.onBad.Topic()
		if !ok {
			continue
		}
		c.written(o, dead)
		if roles[dead] != nil || outputs[dead] != nil {
			c.errorf("%v: dead letter topic %q is also read or written by the job; use one of its own", o, dead)
		}
	}
}

// written checks the name of a topic that the job writes.
func (c *checker) written(o *op, name string) {
	c.topicName(o, name)
	if strings.HasPrefix(name, internalPrefix) {
		c.errorf("%v: topics whose names start with %q are procd's own; write to another one than %q", o, internalPrefix, name)
	}
}

func (c *checker) topicName(o *op, name string) {
	if !topicRE.MatchString(name) || name == "." || name == ".." {
		c.errorf("%v: %q is no topic name; use 1 to 249 letters, digits, dots, dashes and underscores", o, name)
	}
}

// step checks one step by itself.
func (c *checker) step(o *op) {
	switch o.kind {
	case opFrom:
		c.source(o)
	case opTo:
		if !o.partitioner.Valid() {
			c.errorf("%v: no partitioner %q; use murmur2, crc32, fnv or any", o, o.partitioner)
		}
	}
	end := o.kind == opTo || o.kind == opToStdout || o.kind.stateful()
	if !o.used && !end {
		c.errorf("%v: nothing takes its stream; write it with To, or remove the step", o)
	}
}

func (c *checker) source(o *op) {
	s := o.source
	if !s.Partitioner.Valid() {
		c.errorf("%v: no partitioner %q; use murmur2, crc32, fnv or any", o, s.Partitioner)
	}
	if _, dead := o.onBad.Topic(); !dead && o.onBad != Fail && o.onBad != Skip {
		c.errorf("%v: no policy %q for bad records; use Fail, Skip or DeadLetter", o, o.onBad)
	}
	if s.Empty != Fail && s.Empty != Skip {
		c.errorf("%v: no policy %q for records without a value; use Fail or Skip", o, s.Empty)
	}
	if s.OutOfOrder < 0 {
		c.errorf("%v: out-of-order is %v; it cannot be negative", o, s.OutOfOrder)
	}
	switch s.Start.Kind {
	case StartEarliest, StartLatest:
	case StartAtTime:
		if s.Start.Time < 0 {
			c.errorf("%v: starts before 1970; use StartEarliest", o)
		}
	case StartAgo:
		if s.Start.Ago <= 0 {
			c.errorf("%v: starts %v ago; use a positive duration", o, s.Start.Ago)
		}
	default:
		c.errorf("%v: no start %q; use StartEarliest, StartLatest, StartAtTime or StartAgo", o, s.Start.Kind)
	}
}
