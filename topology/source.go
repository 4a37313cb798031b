package topology

import (
	"fmt"
	"time"

	"github.com/procd/procd/codec"
)

// Policy says what happens to a record: [Fail], [Skip] or [DeadLetter].
type Policy string

const (
	// Fail stops the job at the record and names it. The default.
	Fail Policy = "fail"
	// Skip counts the record and goes on.
	Skip Policy = "skip"
)

const deadLetterPrefix = "dead-letter:"

// DeadLetter writes the record to a topic, in the same transaction: its raw key
// and value, with headers saying where it was and what was wrong, see
// [HeaderTopic].
func DeadLetter(topic string) Policy { return Policy(deadLetterPrefix + topic) }

// Topic returns the topic of a [DeadLetter] policy.
func (p Policy) Topic() (topic string, ok bool) {
	if len(p) < len(deadLetterPrefix) || p[:len(deadLetterPrefix)] != deadLetterPrefix {
		return "", false
	}
	return string(p[len(deadLetterPrefix):]), true
}

// Start is where the first start of a job begins to read a source.
type Start struct {
	Kind StartKind
	Time int64         // StartAtTime: epoch milliseconds
	Ago  time.Duration // StartAgo: before the moment of the start
}

// StartKind is the sort of a [Start].
type StartKind string

// The sorts of a start. The empty text is StartEarliest.
const (
	StartEarliest StartKind = "earliest"
	StartLatest   StartKind = "latest"
	StartAtTime   StartKind = "time"
	StartAgo      StartKind = "ago"
)

// String is the text of a job file's `start`.
func (s Start) String() string {
	switch s.Kind {
	case StartAtTime:
		return time.UnixMilli(s.Time).UTC().Format(time.RFC3339Nano)
	case StartAgo:
		return s.Ago.String()
	case "":
		return string(StartEarliest)
	}
	return string(s.Kind)
}

// SourceSpec is what a plan knows of a source beside its topic.
type SourceSpec struct {
	Start Start
	// Empty is Skip or Fail: what a record without a value is.
	Empty       Policy
	Partitioner Partitioner
	// KeyField says that the record key is checked against a field.
	KeyField bool
	// EventTime says that the event time is taken from a field; OutOfOrder is
	// how much older than the newest one a record may be.
	EventTime  bool
	OutOfOrder time.Duration
}

// SourceOption configures [From].
type SourceOption interface{ source(*sourceSettings) }

// sourceSettings collects options. Those that depend on the stream's type are
// kept as they are until From, which knows it.
type sourceSettings struct {
	spec  SourceSpec
	onBad Policy
	typed []fmt.Stringer
}

type sourceOption func(*sourceSettings)

func (o sourceOption) source(s *sourceSettings) { o(s) }

// StartAt says where the first start begins to read. Default: the earliest
// record.
func StartAt(start Start) SourceOption {
	return sourceOption(func(s *sourceSettings) { s.spec.Start = start })
}

// OnBadRecord says what happens to records that cannot be processed: bytes that
// do not decode, [Ctx.Fail], a panic of the job's code, a missing or wrong key,
// an output or state that is too large. It also holds for what becomes of the
// source's records behind a KeyBy. Default: Fail.
//
// Whatever the policy, the job stops when more than half of the last 1,000
// records were bad (D1).
func OnBadRecord(p Policy) SourceOption {
	return sourceOption(func(s *sourceSettings) { s.onBad = p })
}

// EmptyValues says what a record without a value is: [Skip] ignores it, [Fail],
// the default, makes it a bad record.
func EmptyValues(p Policy) SourceOption {
	return sourceOption(func(s *sourceSettings) { s.spec.Empty = p })
}

// Partitioning is an option of [From] and [To]; see [PartitionedWith].
type Partitioning struct{ p Partitioner }

func (o Partitioning) source(s *sourceSettings) { s.spec.Partitioner = o.p }
func (o Partitioning) output(s *outputSettings) { s.partitioner = o.p }

// PartitionedWith names the partitioner of a topic's producer. Of a source it
// is checked when a key is first seen in a store (P24), of an output it chooses
// the partition. Default: [Murmur2].
func PartitionedWith(p Partitioner) Partitioning { return Partitioning{p} }

// EventTime takes the event time, epoch milliseconds, from a field. outOfOrder
// is how much older than the newest record a record may be. Without this option
// the event time is the record's Kafka timestamp.
//
// An event time more than an hour after the record's Kafka timestamp is taken
// as one hour after it, and counted (D4).
func EventTime[T any](field func(T) int64, outOfOrder time.Duration) SourceOption {
	return timeField[T]{field, outOfOrder}
}

type timeField[T any] struct {
	field      func(T) int64
	outOfOrder time.Duration
}

func (o timeField[T]) String() string { return "EventTime" }

func (o timeField[T]) source(s *sourceSettings) { s.typed = append(s.typed, o) }

func (o timeField[T]) apply(s *source[T]) {
	s.spec.EventTime, s.spec.OutOfOrder = true, o.outOfOrder
	s.time = o.field
}

// source is the typed side of a From.
type source[T any] struct {
	spec    *SourceSpec
	codec   codec.Codec[T]
	keyType string
	checker func(t *Task) func(v T) // nil: no key field
	key     func() func(v T) ([]byte, error)
	time    func(T) int64 // nil: the Kafka timestamp
}

// From reads a topic. A topic can be read once in a job; several steps can take
// the stream (P9).
func From[T any](j *Job, topic string, c codec.Codec[T], opts ...SourceOption) Stream[T] {
	set := sourceSettings{onBad: Fail, spec: SourceSpec{Empty: Fail, Partitioner: Murmur2}}
	for _, o := range opts {
		o.source(&set)
	}
	if set.spec.Start.Kind == "" {
		set.spec.Start.Kind = StartEarliest
	}
	src := &source[T]{spec: &set.spec, codec: c, keyType: "bytes"}
	o := j.add(&op{kind: opFrom, name: topic, source: &set.spec, onBad: set.onBad})
	for _, opt := range set.typed {
		if a, ok := opt.(interface{ apply(*source[T]) }); ok {
			a.apply(src)
		} else {
			var v T
			j.errorf("%v: %v takes another type than the stream's, %T", o, opt, v)
		}
	}
	checkCodec(j, o, c)
	n := &node[T]{op: o}
	o.keyType = src.keyType
	o.start = func(b *builder) func(*Record) { return src.start(b.task, n.build(b)) }
	if src.key != nil {
		o.keyOf = src.keyOf
	}
	return Stream[T]{job: j, n: n}
}

// start makes the first closure of a task: bytes to a value, and what has to be
// known of the record before the first step.
func (s *source[T]) start(t *Task, down func(T)) func(*Record) {
	dec := forTask(s.codec)
	check := func(T) {}
	if s.checker != nil {
		check = s.checker(t)
	}
	skipEmpty := s.spec.Empty == Skip
	var v T
	return func(r *Record) {
		if r.Value == nil {
			t.empty(skipEmpty)
			return
		}
		if err := dec.Decode(r.Value, &v); err != nil {
			t.fail(err)
			return
		}
		if s.time != nil {
			t.setEventTime(s.time(v))
		}
		if check(v); t.failure == nil {
			down(v)
		}
	}
}

// forTask takes a task's own copy of a codec that has scratch space.
func forTask[T any](c codec.Codec[T]) codec.Codec[T] {
	if p, ok := c.(codec.PerTask[T]); ok {
		return p.ForTask()
	}
	return c
}

// checkCodec reports a codec that cannot work for its type.
func checkCodec[T any](j *Job, o *op, c codec.Codec[T]) {
	if c == nil {
		j.errorf("%v: the codec is nil", o)
		return
	}
	if k, ok := c.(codec.Checked); ok {
		if err := k.Check(); err != nil {
			j.errorf("%v: %w", o, err)
		}
	}
}
