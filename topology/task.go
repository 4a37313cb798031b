package topology

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/procd/procd/kstate"
)

// TaskEnv is what a task is given by the process it runs in.
type TaskEnv struct {
	// Partition is the task's, of all its inputs; Partitions is how many its
	// input topics have.
	Partition, Partitions int32
	// State holds the stores' caches and databases. Nil: the stores live in
	// memory only.
	State *kstate.Env
	// Now is the wall clock, epoch milliseconds; it never goes back. It is
	// asked at most once per record, and only for records that are newer than
	// its last answer.
	Now func() int64
	// Logger is for the job's own code. Nil: slog.Default.
	Logger *slog.Logger
	// MaxRecordBytes bounds outputs and states (D2). 0: 1,000,000, which fits
	// Kafka's default max.message.bytes of 1,048,588.
	MaxRecordBytes int
	// Generation is the job's: what [HeaderGeneration] says.
	Generation int
	// Reached is how far earlier generations had brought this task in each source
	// partition (P10). What it emits for records below was emitted before, and
	// says so in its headers.
	Reached []kstate.SourceOffset
	// OnBad hears of records that are skipped or go to a dead letter topic.
	// It may be nil.
	OnBad func(*BadRecord)
}

const (
	defaultMaxRecordBytes = 1_000_000
	// recordOverhead bounds what Kafka's format adds to key, value and headers.
	recordOverhead = 70
	// maxAhead is how far ahead of the clock a timestamp may be, milliseconds:
	// the broker's default message.timestamp.after.max.ms (D4).
	maxAhead = 3600_000
)

// Counters count what a task did, including what was aborted later.
type Counters struct {
	In          int64 // records processed, bad ones included
	Out         int64 // outputs, without dead letters
	Empty       int64 // records without a value, skipped
	Skipped     int64 // bad records that were skipped
	DeadLetters int64
	Clamped     int64 // records whose event time was too far ahead (D4)
}

// recordStore is a store as a task uses it; the steps have it typed.
type recordStore interface {
	kstate.Overlay
	BeginRecord()
	Rollback() error
}

// Task is one stage at work on one partition.
type Task struct {
	plan     *Plan
	stage    *Stage
	env      TaskEnv
	inputs   []taskInput
	stores   []recordStore
	overlays []kstate.Overlay

	// Of the record at hand.
	in      *taskInput
	record  *Record
	meta    Meta
	outTime int64 // Kafka timestamp of its outputs
	logTime int64 // what its event time is measured against (D4)
	clamped bool
	key     []byte // a copy of its key, made for the first output
	failure error  // why it goes no further
	halted  bool   // failure is not the record's fault
	skipped bool   // it was empty, and empty records are skipped

	isolated bool
	now      int64 // the clock's last answer
	arena    arena
	outputs  []Output
	headers  []Header // of outputs; replaced, never moved, when it grows
	position position
	reached  reached
	counters Counters
}

// taskInput is one input partition of a task.
type taskInput struct {
	*Input
	start       func(*Record)
	topic       string
	dead        int // index of the dead letter topic in the plan; -1: none
	partitioner Partitioner
	outOfOrder  int64 // milliseconds
	watermark   int   // its place in Progress.Watermarks; sources only
	recent      recent
	committed   recent
}

// builder makes a task.
type builder struct {
	task *Task
}

// topic is the index of the topic that a step writes.
func (b *builder) topic(o *op) int { return b.task.plan.topicOf[o] }

// addStore puts a step's store in the place that the stage's list gives it.
func (b *builder) addStore(uid string, s recordStore) {
	t := b.task
	for i, have := range t.stage.Stores {
		if have == uid {
			t.stores[i], t.overlays[i] = s, s
		}
	}
}

// NewTask makes the task of a stage, by its index in Stages, for a partition.
// Several goroutines may make tasks at once.
func (p *Plan) NewTask(stage int, env TaskEnv) (*Task, error) {
	if stage < 0 || stage >= len(p.Stages) {
		return nil, fmt.Errorf("procd/topology: no stage %d: the job has %d", stage, len(p.Stages))
	}
	if env.Partition < 0 || env.Partition >= env.Partitions {
		return nil, fmt.Errorf("procd/topology: no partition %d: the inputs of stage %s have %d", env.Partition, p.Stages[stage].ID, env.Partitions)
	}
	if env.Logger == nil {
		env.Logger = slog.Default()
	}
	if env.MaxRecordBytes == 0 {
		env.MaxRecordBytes = defaultMaxRecordBytes
	}
	s := p.Stages[stage]
	t := &Task{
		plan: p, stage: s, env: env,
		inputs:   make([]taskInput, len(s.Inputs)),
		stores:   make([]recordStore, len(s.Stores)),
		overlays: make([]kstate.Overlay, len(s.Stores)),
	}
	b := &builder{task: t}
	for i := range s.Inputs {
		t.inputs[i] = p.newInput(s, i, b)
	}
	t.position.init(t.inputs, env.Partition)
	t.reached.init(env)
	return t, nil
}

func (p *Plan) newInput(s *Stage, i int, b *builder) taskInput {
	spec := &s.Inputs[i]
	in := taskInput{Input: spec, topic: p.Topics[spec.Topic].Name, dead: -1, partitioner: Any}
	if spec.Source != nil {
		in.partitioner = spec.Source.Partitioner
		in.outOfOrder = spec.Source.OutOfOrder.Milliseconds()
	}
	if name, ok := spec.OnBadRecord.Topic(); ok {
		in.dead = p.topic(DeadLetterTopic, name)
	}
	in.start = s.roots[i].start(b)
	return in
}

// Stage is the task's stage.
func (t *Task) Stage() *Stage { return t.stage }

// Stores are the task's stores, in the order of [Stage.Stores].
func (t *Task) Stores() []kstate.Overlay { return t.overlays }

// Counters are the task's own memory: read by the goroutine that runs the task.
func (t *Task) Counters() *Counters { return &t.counters }

// Isolate switches to one record per transaction: each state is encoded when
// it is set, so that data which would fail the commit is found while the record
// that caused it is at hand (P22).
func (t *Task) Isolate(on bool) { t.isolated = on }

// Process runs one data record of an input, by its index in [Stage.Inputs],
// through the stage. It returns nil if the record took effect, was skipped, or
// became a dead letter. Errors, after which nothing of the record is kept:
//
//   - *[BadRecord]: the record is bad and the policy says to stop, or too many
//     were bad. What was processed before can be committed.
//   - *[Refused]: going on would split a key's state (P24).
//   - [kstate.ErrIsolate]: the record is bad and cannot be undone alone. Abort
//     the transaction, and replay it with [Task.Isolate] and one record each.
//   - anything else: the store failed; abort.
func (t *Task) Process(input int, r *Record) error { return t.process(input, r, nil) }

// Reject applies the policy for bad records to a record that alone made its
// transaction fail (P22), instead of processing it. Errors are as for Process.
func (t *Task) Reject(input int, r *Record, err error) error { return t.process(input, r, err) }

// process runs a record, or only judges it if the verdict is known.
func (t *Task) process(input int, r *Record, verdict error) error {
	in := &t.inputs[input]
	t.counters.In++
	mark := t.begin(in, r)
	if verdict != nil {
		t.fail(verdict)
	}
	if t.failure == nil {
		t.run(r)
	}
	if t.failure != nil {
		if err := t.refuse(mark); err != nil {
			return err
		}
	} else {
		in.recent.add(false)
		if !t.skipped {
			t.position.seen(in, t.meta.Time)
		}
	}
	t.position.consumed(&t.meta)
	t.record = nil
	return nil
}

// recordMark is where the record's outputs begin.
type recordMark struct {
	outputs, headers int
	out              int64
	arena            arenaMark
}

// begin makes r the record at hand.
func (t *Task) begin(in *taskInput, r *Record) recordMark {
	t.in, t.record = in, r
	t.failure, t.halted, t.skipped, t.clamped = nil, false, false, false
	t.key = nil
	for _, s := range t.stores {
		s.BeginRecord()
	}
	t.outTime = t.atMostNow(r.Time)
	t.logTime = r.Time
	if r.Time < 0 || r.Time > t.outTime+maxAhead {
		t.logTime = t.outTime
	}
	t.meta = Meta{Key: r.Key, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Headers: r.Headers}
	t.setEventTime(max(r.Time, t.logTime))
	if in.Source == nil {
		t.readOrigin(r)
	}
	return recordMark{len(t.outputs), len(t.headers), t.counters.Out, t.arena.mark()}
}

// atMostNow is a timestamp as outputs may have it (P23).
func (t *Task) atMostNow(ms int64) int64 {
	if ms < 0 || ms > t.now {
		if t.now = t.env.Now(); ms < 0 || ms > t.now {
			return t.now
		}
	}
	return ms
}

// setEventTime sets the record's event time, at most an hour after the time at
// which it was logged. The record's own timestamp is the measure, not the
// clock, so that a replay gives the same (P27); the clock only where that
// timestamp is itself missing or too far ahead.
func (t *Task) setEventTime(ms int64) {
	if limit := t.logTime + maxAhead; ms > limit {
		ms = limit
		if !t.clamped {
			t.clamped = true
			t.counters.Clamped++
		}
	}
	t.meta.Time = ms
}

// readOrigin replaces the coordinates of a repartition record by those of the
// source record it came from.
func (t *Task) readOrigin(r *Record) {
	t.meta.Headers = nil
	for i := range r.Headers {
		if r.Headers[i].Key != HeaderOrigin {
			continue
		}
		o, err := ParseOrigin(r.Headers[i].Value)
		if err != nil {
			t.halt(fmt.Errorf("%s-%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err))
			return
		}
		t.meta.Topic, t.meta.Partition, t.meta.Offset = t.position.topicName(o.Topic), o.Partition, o.Offset
		t.meta.Time = o.Time
		return
	}
	t.halt(fmt.Errorf("%s-%d at offset %d: %w", r.Topic, r.Partition, r.Offset, ErrOrigin))
}

// run hands the record to the first step. It is a function of its own for the
// sake of its defer.
func (t *Task) run(r *Record) {
	defer t.recoverPanic()
	t.in.start(r)
}

// fail makes the record bad. The first reason counts.
func (t *Task) fail(err error) {
	if t.failure == nil {
		if err == nil {
			err = errors.New("the step refused the record without a reason")
		}
		t.failure = err
	}
}

// halt stops at the record for a reason that is not its fault.
func (t *Task) halt(err error) { t.failure, t.halted = err, true }

// empty is for records without a value.
func (t *Task) empty(skip bool) {
	if skip {
		t.counters.Empty++
		t.skipped = true
	} else {
		t.fail(ErrEmptyValue)
	}
}

// checkPartition checks a key that a store sees for the first time (P24).
func (t *Task) checkPartition(key []byte) bool {
	p := t.in.partitioner
	if p == Any {
		return true
	}
	want := p.Partition(key, t.env.Partitions)
	if want == t.env.Partition {
		return true
	}
	t.halt(&Refused{
		Topic: t.meta.Topic, Offset: t.meta.Offset, Key: append([]byte(nil), key...),
		Partition: t.env.Partition, Want: want, Partitioner: p,
	})
	return false
}

func (t *Task) checkSize(n int) error {
	if n <= t.env.MaxRecordBytes {
		return nil
	}
	return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, t.env.MaxRecordBytes)
}

// currentKey is the record's key in memory that outlives the record.
func (t *Task) currentKey() []byte {
	if t.key == nil {
		t.key = t.arena.copy(t.meta.Key)
	}
	return t.key
}

// emit adds an output.
func (t *Task) emit(topic int, repartition bool, key, value []byte) {
	h := t.outputHeaders(repartition)
	size := recordOverhead + len(key) + len(value)
	for i := range h {
		size += len(h[i].Key) + len(h[i].Value)
	}
	if err := t.checkSize(size); err != nil {
		t.fail(fmt.Errorf("output %s: %w", t.plan.Topics[topic].Name, err))
		return
	}
	t.counters.Out++
	if !repartition && t.reached.holds(&t.meta) {
		h = t.againHeaders(h)
	}
	t.outputs = append(t.outputs, Output{Topic: topic, Partition: -1, Time: t.outTime, Key: key, Value: value, Headers: h})
}

// outputHeaders tells the event time where the Kafka timestamp does not (P23),
// and to the next stage also where the record came from (P10).
func (t *Task) outputHeaders(repartition bool) []Header {
	m := &t.meta
	switch {
	case repartition:
		b := AppendOrigin(t.arena.begin(), m.Time, m.Topic, m.Partition, m.Offset)
		return t.oneHeader(HeaderOrigin, t.arena.end(b))
	case m.Time != t.outTime:
		b := strconv.AppendInt(t.arena.begin(), m.Time, 10)
		return t.oneHeader(HeaderTime, t.arena.end(b))
	}
	return nil
}

func (t *Task) oneHeader(key string, value []byte) []Header {
	n := len(t.headers)
	t.headers = append(t.headers, Header{key, value})
	return t.headers[n : n+1 : n+1]
}

// Outputs are the records to write since the last Take, in order. The slice is
// the task's own and valid until the next Process or Take; the records' bytes
// are valid until Commit or Abort.
func (t *Task) Outputs() []Output { return t.outputs }

// Take forgets the outputs: the caller has them.
func (t *Task) Take() { t.outputs = t.outputs[:0] }

// Changes hands the changelog records of this transaction to emit, with the
// index of their store in Stores; see [kstate.Overlay]. An error that one key's
// state caused is a *[kstate.KeyError]: abort, and replay with Isolate (P22).
func (t *Task) Changes(emit func(store int, key, value []byte) error) error {
	for i, s := range t.stores {
		err := s.Changes(func(key, value []byte) error {
			if err := t.checkSize(recordOverhead + len(key) + len(value)); err != nil {
				return &kstate.KeyError{Store: s.UID(), Key: append([]byte(nil), key[1:]...), Err: err} // without the kind byte
			}
			return emit(i, key, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Commit says that the transaction is known to have committed; pos are the
// stores' positions after it, in the order of Stores.
func (t *Task) Commit(pos []kstate.Position) {
	for i, s := range t.stores {
		s.Commit(pos[i])
	}
	for i := range t.inputs {
		t.inputs[i].committed = t.inputs[i].recent
	}
	t.position.commit()
	t.release()
}

// Abort drops everything since the last Commit.
func (t *Task) Abort() {
	for _, s := range t.stores {
		s.Abort()
	}
	for i := range t.inputs {
		t.inputs[i].recent = t.inputs[i].committed
	}
	t.position.abort()
	t.release()
}

func (t *Task) release() {
	t.outputs, t.headers = t.outputs[:0], t.headers[:0]
	t.arena.reset()
}
