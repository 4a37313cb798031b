package control

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/topology"
)

const (
	testJob = "alarm"
	// sessionTimeout keeps the tests that wait it out short.
	sessionTimeout = 500 * time.Millisecond
)

// bench is a fake cluster with the topics of the test job.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	config  cluster.Config
	adm     *kadm.Client
	cl      *kgo.Client
}

func newBench(t *testing.T, opts ...kfake.Opt) *bench {
	t.Helper()
	opts = append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(4, "events", "alarms"),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &bench{t: t, cluster: c, config: cluster.Config{Brokers: c.ListenAddrs()}}
	clientOpts, err := b.config.Opts()
	if err != nil {
		t.Fatal(err)
	}
	if b.cl, err = kgo.NewClient(append(clientOpts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cl.Close)
	b.adm = kadm.NewClient(b.cl)
	return b
}

// plane connects to the bench.
func (b *bench) plane(change ...func(*Settings)) *Plane {
	b.t.Helper()
	s := Settings{
		Cluster: b.config, Job: testJob, SessionTimeout: sessionTimeout,
		By: "ann@host", Logger: slog.New(slog.NewTextHandler(testWriter{b.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&s)
	}
	p, err := Open(b.context(), s)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(p.Close)
	return p
}

// context ends before the test would.
func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bench) seat() *seat.Seat {
	b.t.Helper()
	s, err := seat.Take(b.t.TempDir(), testJob)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { s.Release() })
	return s
}

// begin starts the job on a plane and a seat of its own.
func (b *bench) begin(d Definition, o StartOptions) (*Lease, error) {
	b.t.Helper()
	return b.plane().begin(b.context(), d, b.seat(), o)
}

func (b *bench) mustBegin(d Definition, o StartOptions) *Lease {
	b.t.Helper()
	l, err := b.begin(d, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// mustBeginOn starts the job on a given seat, as a process that is gone by now did.
func (b *bench) mustBeginOn(s *seat.Seat, d Definition) {
	b.t.Helper()
	if _, err := b.plane().begin(b.context(), d, s, StartOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// controlRecords are all committed records of the control topic, in order.
func (b *bench) controlRecords() []*kgo.Record {
	b.t.Helper()
	ends, err := b.adm.ListEndOffsets(b.context(), ControlTopic(testJob))
	if err != nil {
		b.t.Fatal(err)
	}
	end, ok := ends.Lookup(ControlTopic(testJob), 0)
	if !ok {
		return nil
	}
	opts, err := b.config.Opts()
	if err != nil {
		b.t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{ControlTopic(testJob): {0: kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		b.t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for next := int64(0); next < end.Offset; {
		fetches := cl.PollFetches(b.context())
		if err := fetches.Err(); err != nil {
			b.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records
}

// keys counts the committed records by key.
func (b *bench) keys() map[string]int {
	counts := make(map[string]int)
	for _, r := range b.controlRecords() {
		counts[string(r.Key)]++
	}
	return counts
}

// testWriter sends the log to the test's.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

// alarmJob is a job with one stage, one store and one output.
func alarmJob(hash string) Definition {
	return Definition{
		Hash: hash, Text: "plan of " + hash,
		Stages:  []StageDefinition{{ID: "in:events", Sources: []string{"events"}, Partitioner: topology.Murmur2}},
		Stores:  []StoreDefinition{{UID: "arm", Stage: "in:events", KeyType: "int", Schema: `"long"`}},
		Sources: []SourceDefinition{{Topic: "events", Start: topology.Start{}}},
		Outputs: []string{"alarms"},
	}
}

// named is a balancer whose protocol has another name: procd's carries the
// revision (P2).
type named struct {
	kgo.GroupBalancer
	name string
}

func (n named) ProtocolName() string { return n.name }

// member joins the job's group as a static member and waits until it is in.
func (b *bench) member(instance, protocol string) *kgo.Client {
	b.t.Helper()
	opts, err := b.config.Opts()
	if err != nil {
		b.t.Fatal(err)
	}
	joined := make(chan struct{}, 8)
	cl, err := kgo.NewClient(append(opts,
		kgo.ConsumerGroup(Group(testJob)), kgo.InstanceID(instance), kgo.ConsumeTopics("events"),
		kgo.Balancers(named{kgo.CooperativeStickyBalancer(), protocol}),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(sessionTimeout/5),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { joined <- struct{}{} }),
	)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	select {
	case <-joined:
	case <-b.context().Done():
		b.t.Fatalf("%s did not join", instance)
	}
	return cl
}

// transaction begins a transaction of that id with one record in alarms.
func (b *bench) transaction(id string) *kgo.Client {
	b.t.Helper()
	opts, err := b.config.Opts()
	if err != nil {
		b.t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.TransactionalID(id), kgo.DefaultProduceTopic("alarms"))...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		b.t.Fatal(err)
	}
	if err := cl.ProduceSync(b.context(), kgo.StringRecord("ALARM")).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
	return cl
}

const hour = time.Hour

// now is the time, in the whole milliseconds that Kafka knows.
func (b *bench) now() time.Time { return time.Now().Truncate(time.Millisecond) }

// produce writes one record per time.
func (b *bench) produce(topic string, partition int32, times ...time.Time) {
	b.t.Helper()
	for _, at := range times {
		r := &kgo.Record{Topic: topic, Partition: partition, Timestamp: at, Value: []byte("x")}
		if err := b.cl.ProduceSync(b.context(), r).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func recordTo(topic string) *kgo.Record {
	return &kgo.Record{Topic: topic, Value: []byte("x")}
}
