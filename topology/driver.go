package topology

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/procd/procd/kstate"
)

// Driver runs a job in memory, without a broker: records in, outputs and state
// out, and a clock that is moved by hand. It is for tests, by one goroutine.
//
// Each Send is a transaction of its own, unless [ManualCommit] is given. What a
// KeyBy passes on is seen by the next stage after the commit, as in Kafka.
type Driver struct {
	plan       *Plan
	partitions int32
	now        int64
	manual     bool
	maxBytes   int
	tasks      [][]*Task // by stage and partition
	next       map[place]int64
	sent       []place // of the records since the last commit
	commits    int64
	written    map[string][]OutputRecord
	pending    []pendingOutput // of the open transaction
	rejected   []*BadRecord
}

// place is a partition of a topic.
type place struct {
	topic     int
	partition int32
}

type pendingOutput struct {
	topic  int
	record OutputRecord
}

// OutputRecord is a record that a job wrote.
type OutputRecord struct {
	Partition int32
	Time      int64 // Kafka timestamp, epoch milliseconds
	Key       []byte
	Value     []byte
	Headers   []Header
}

// String is the record's key and value, as text.
func (r OutputRecord) String() string { return fmt.Sprintf("%s: %s", r.Key, r.Value) }

// Header returns the value of the first header with this name, nil if there is
// none.
func (r *OutputRecord) Header(name string) []byte { return header(r.Headers, name) }

func header(hs []Header, name string) []byte {
	for i := range hs {
		if hs[i].Key == name {
			return hs[i].Value
		}
	}
	return nil
}

// DriverOption configures [NewDriver].
type DriverOption func(*Driver)

// Partitions is how many partitions each topic has. Default: 1.
func Partitions(n int32) DriverOption { return func(d *Driver) { d.partitions = n } }

// Clock sets the time at which the driver's clock stands. Default: now.
func Clock(at time.Time) DriverOption { return func(d *Driver) { d.now = at.UnixMilli() } }

// ManualCommit leaves it to the test to call [Driver.Commit] and [Driver.Abort].
func ManualCommit() DriverOption { return func(d *Driver) { d.manual = true } }

// MaxRecordBytes bounds outputs and states, as [TaskEnv.MaxRecordBytes] does.
func MaxRecordBytes(n int) DriverOption { return func(d *Driver) { d.maxBytes = n } }

// NewDriver plans a job and makes all its tasks. The error is [Job.Plan]'s.
func NewDriver(j *Job, opts ...DriverOption) (*Driver, error) {
	plan, err := j.Plan()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		plan: plan, partitions: 1, now: time.Now().UnixMilli(),
		next: make(map[place]int64), written: make(map[string][]OutputRecord),
	}
	for _, o := range opts {
		o(d)
	}
	for i := range plan.Stages {
		tasks := make([]*Task, d.partitions)
		for p := range tasks {
			if tasks[p], err = d.newTask(i, int32(p)); err != nil {
				return nil, err
			}
		}
		d.tasks = append(d.tasks, tasks)
	}
	return d, nil
}

func (d *Driver) newTask(stage int, partition int32) (*Task, error) {
	t, err := d.plan.NewTask(stage, TaskEnv{
		Partition: partition, Partitions: d.partitions,
		Now:            func() int64 { return d.now },
		MaxRecordBytes: d.maxBytes,
		OnBad:          func(b *BadRecord) { d.rejected = append(d.rejected, b) },
	})
	if err == nil {
		t.Isolate(!d.manual) // each Send is a transaction: blame its record
	}
	return t, err
}

// Plan is the plan of the driven job.
func (d *Driver) Plan() *Plan { return d.plan }

// Now is where the driver's clock stands, epoch milliseconds.
func (d *Driver) Now() int64 { return d.now }

// Advance moves the clock.
func (d *Driver) Advance(by time.Duration) { d.now += by.Milliseconds() }

// Send runs one record through the job. It goes to the partition that the
// source's partitioner chooses, with the Kafka timestamp at, epoch
// milliseconds; a negative one means the driver's clock. A nil value is a
// record without one.
//
// A bad record under the policy Fail is an error, and also in [Driver.Rejected];
// it leaves nothing, and the driver can go on.
func (d *Driver) Send(topic string, key, value []byte, at int64) error {
	return d.SendRecord(Record{Topic: topic, Partition: -1, Time: at, Key: key, Value: value})
}

// SendRecord is [Driver.Send] for a record with headers or a partition of its
// own; a negative partition is chosen by the key. The offset is the driver's.
func (d *Driver) SendRecord(r Record) error {
	i := d.plan.topic(SourceTopic, r.Topic)
	if i < 0 {
		return fmt.Errorf("procd/topology: job %s does not read topic %q", d.plan.Job, r.Topic)
	}
	if r.Partition >= d.partitions {
		return fmt.Errorf("procd/topology: no partition %d: topics have %d", r.Partition, d.partitions)
	}
	if r.Partition < 0 {
		r.Partition = d.choose(d.plan.Topics[i].Partitioner, r.Key)
	}
	if r.Time < 0 {
		r.Time = d.now
	}
	err := d.process(i, r)
	if !d.manual {
		err = errors.Join(err, d.Commit())
	}
	return err
}

// choose is the partition of a key; without a key or a partitioner the first.
func (d *Driver) choose(p Partitioner, key []byte) int32 {
	if key == nil {
		return 0
	}
	return max(p.Partition(key, d.partitions), 0)
}

// process runs a record of a topic through the stage that reads it.
func (d *Driver) process(topic int, r Record) error {
	stage, input := d.reader(topic)
	at := place{topic, r.Partition}
	r.Offset = d.next[at]
	d.next[at]++
	d.sent = append(d.sent, at)
	t := d.tasks[stage][r.Partition]
	err := t.Process(input, &r)
	var bad *BadRecord
	if errors.As(err, &bad) {
		d.rejected = append(d.rejected, bad)
	}
	for _, o := range t.Outputs() {
		d.pending = append(d.pending, pendingOutput{o.Topic, d.keep(o)})
	}
	t.Take()
	return err
}

// reader finds the stage and input that read a topic.
func (d *Driver) reader(topic int) (stage, input int) {
	for i, s := range d.plan.Stages {
		for k := range s.Inputs {
			if s.Inputs[k].Topic == topic {
				return i, k
			}
		}
	}
	panic("procd/topology: a plan with a topic that nobody reads")
}

// keep copies an output out of its task's memory.
func (d *Driver) keep(o Output) OutputRecord {
	r := OutputRecord{Partition: o.Partition, Time: o.Time, Key: slices.Clone(o.Key), Value: slices.Clone(o.Value)}
	if r.Partition < 0 {
		r.Partition = d.choose(d.plan.Topics[o.Topic].Partitioner, o.Key)
	}
	for _, h := range o.Headers {
		r.Headers = append(r.Headers, Header{h.Key, slices.Clone(h.Value)})
	}
	return r
}

// Commit commits the open transaction, and those of the later stages that it
// feeds. If states do not encode or are too large it aborts, and returns a
// *[kstate.KeyError].
func (d *Driver) Commit() error {
	var errs []error
	for {
		if err := d.commitOnce(); err != nil {
			d.Abort()
			return errors.Join(append(errs, err)...)
		}
		feed := d.publish()
		if len(feed) == 0 {
			return errors.Join(errs...)
		}
		for _, o := range feed {
			r := &o.record
			err := d.process(o.topic, Record{
				Topic: d.plan.Topics[o.topic].Name, Partition: r.Partition, Time: r.Time,
				Key: r.Key, Value: r.Value, Headers: r.Headers,
			})
			errs = append(errs, err)
		}
	}
}

// commitOnce ends the transactions of all tasks.
func (d *Driver) commitOnce() error {
	for _, tasks := range d.tasks {
		for _, t := range tasks {
			if err := t.Changes(func(int, []byte, []byte) error { return nil }); err != nil {
				return err
			}
		}
	}
	d.commits++
	d.sent = d.sent[:0]
	for _, tasks := range d.tasks {
		for _, t := range tasks {
			pos := make([]kstate.Position, len(t.Stores()))
			for i := range pos {
				pos[i].Changelog = d.commits
			}
			t.Commit(pos)
		}
	}
	return nil
}

// publish makes the pending outputs visible and returns those that a later
// stage reads.
func (d *Driver) publish() (feed []pendingOutput) {
	for _, o := range d.pending {
		t := d.plan.Topics[o.topic]
		if t.Kind == RepartitionTopic {
			feed = append(feed, o)
		} else {
			d.written[t.Name] = append(d.written[t.Name], o.record)
		}
	}
	d.pending = nil
	return feed
}

// Abort drops what was done since the last commit. The records sent since then
// are to be sent again, and get the same offsets.
func (d *Driver) Abort() {
	for _, tasks := range d.tasks {
		for _, t := range tasks {
			t.Abort()
		}
	}
	for _, at := range d.sent {
		d.next[at]--
	}
	d.pending, d.sent = nil, d.sent[:0]
}

// Outputs are the committed records of an output or dead letter topic, in the
// order in which they were written; of [ToStdout] with the name "stdout".
func (d *Driver) Outputs(topic string) []OutputRecord { return d.written[topic] }

// Rejected are the bad records so far, in order: skipped, dead letters, and
// those that Send returned as an error.
func (d *Driver) Rejected() []*BadRecord { return d.rejected }

// StateOf returns the state of a step, by key, as the open transaction sees it.
// S is the type of the step's state.
func StateOf[S any](d *Driver, uid string) (map[string]S, error) {
	states := make(map[string]S)
	found := false
	for _, tasks := range d.tasks {
		for _, t := range tasks {
			for _, s := range t.stores {
				if s.UID() != uid {
					continue
				}
				store, ok := s.(*kstate.Store[S])
				if !ok {
					var v S
					return nil, fmt.Errorf("procd/topology: the state of %s is no %T", uid, v)
				}
				found = true
				if err := store.Each(func(key []byte, v S) error { states[string(key)] = v; return nil }); err != nil {
					return nil, err
				}
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("procd/topology: job %s has no store %q", d.plan.Job, uid)
	}
	return states, nil
}
