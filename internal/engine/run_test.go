package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// event is what the jobs of these tests read and write.
type event struct {
	Key string `json:"key"`
	N   int64  `json:"n"`
}

// total is a state per key.
type total struct {
	Sum int64 `avro:"sum"`
}

// sums is a job that emits the running total of each key. With by set, the
// totals are taken in a second stage, behind a KeyBy.
func sums(name string, by bool) *topology.Job {
	job := topology.New(name)
	events := topology.From[event](job, name+"-in", codec.JSON[event](), topology.PartitionedBy(func(e event) string { return e.Key }))
	if by {
		events = topology.KeyBy(events, "by-key", func(e event) string { return e.Key }, codec.JSON[event]())
	}
	out := topology.Process(events, "sums", func(c topology.Ctx[total, event], e event) {
		if e.N < 0 {
			c.Fail(errors.New("negative"))
			return
		}
		s := c.State()
		s.Sum += e.N
		c.Set(s)
		c.Emit(event{e.Key, s.Sum})
	})
	topology.To(out, name+"-out", codec.JSON[event]())
	return job
}

// rig is a cluster with the topics of one job.
type rig struct {
	t       *testing.T
	brokers []string
	cl      *kgo.Client
	job     *topology.Job
	name    string
	fake    *kfake.Cluster     // nil on a real broker
	sent    map[string][]int64 // totals to come out, by key
	sum     map[string]int64
	// savepoints is where they are taken, from how the next run starts.
	savepoints string
	from       control.StartOptions
	commit     time.Duration // 0: the default
}

func newRig(t *testing.T, job *topology.Job, opts ...kfake.Opt) *rig {
	t.Helper()
	return newRigOf(t, 4, job, opts...)
}

// newRigOf makes topics of so many partitions.
func newRigOf(t *testing.T, partitions int32, job *topology.Job, opts ...kfake.Opt) *rig {
	t.Helper()
	brokers := []string{os.Getenv("PROCD_ENGINE_BROKERS")}
	var fake *kfake.Cluster
	if brokers[0] == "" {
		c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		brokers, fake = c.ListenAddrs(), c
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	r := &rig{t: t, brokers: brokers, cl: cl, job: job, name: job.Name(), fake: fake, sent: map[string][]int64{}, sum: map[string]int64{}}
	if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), partitions, 1, nil, r.name+"-in", r.name+"-out"); err != nil {
		t.Fatal(err)
	}
	return r
}

// send produces n events over some keys and adds what must come of them.
func (r *rig) send(n int) {
	r.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		key := "k" + strconv.Itoa(i%17)
		r.sum[key] += int64(i)
		r.sent[key] = append(r.sent[key], r.sum[key])
		records[i] = &kgo.Record{Topic: r.name + "-in", Key: []byte(key), Value: fmt.Appendf(nil, `{"key":%q,"n":%d}`, key, i)}
	}
	if err := r.cl.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// running is an engine at work.
type running struct {
	stop  context.CancelFunc
	ended chan error
	e     *Engine
	plane *control.Plane
}

// start runs an engine on a seat below dir.
func (r *rig) start(dir string) *running {
	r.t.Helper()
	plan, err := r.job.Plan()
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := seat.Take(dir, r.name)
	if err != nil {
		r.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{r.t}, nil))
	cfg := cluster.Config{Brokers: r.brokers}
	plane, err := control.Open(r.t.Context(), control.Settings{Cluster: cfg, Job: r.name, Logger: log})
	if err != nil {
		r.t.Fatal(err)
	}
	lease, err := plane.Begin(r.t.Context(), plan, s, r.from)
	if err != nil {
		r.t.Fatal(err)
	}
	opts, err := cfg.Opts()
	if err != nil {
		r.t.Fatal(err)
	}
	env := kstate.NewEnv(kstate.EnvOptions{BlockCacheBytes: 8 << 20, WriteBackBytes: 32 << 20, Logger: log})
	ctx, stop := context.WithCancel(context.Background())
	config := Config{Kafka: opts, Client: plane.Client(), Plan: plan, Lease: lease, Seat: s, State: env, Workers: 2, Commit: r.commit, Logger: log}
	if r.savepoints != "" {
		r.coordinates(&config, plane)
	}
	e, err := New(ctx, config)
	if err != nil {
		r.t.Fatal(err)
	}
	run := &running{stop: stop, ended: make(chan error, 1), e: e, plane: plane}
	go func() {
		run.ended <- e.Run(ctx)
		plane.Close()
		env.Close()
		s.Release()
	}()
	return run
}

// coordinates lets the process take savepoints.
func (r *rig) coordinates(c *Config, plane *control.Plane) {
	r.t.Helper()
	location, err := savepoint.OpenLocation(r.savepoints)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { location.Close() })
	c.Location, c.Report = location, c.Lease.Report
	c.Coordinate = func(ctx context.Context) error {
		return coordinator.Run(ctx, coordinator.Deps{
			Plane: plane, Lease: c.Lease, Plan: c.Plan, Location: location, Path: r.savepoints, Logger: c.Logger,
		})
	}
}

// end stops an engine and returns its error.
func (r *rig) end(run *running) error {
	run.stop()
	select {
	case err := <-run.ended:
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatal("the engine does not stop")
		return nil
	}
}

// wantExact reads the output, committed only, until every total has come, and
// checks that each key's totals came in order, once.
func (r *rig) wantExact() {
	r.t.Helper()
	want := 0
	for _, totals := range r.sent {
		want += len(totals)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumeTopics(r.name+"-out"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	got := map[string][]int64{}
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	for n := 0; n < want; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			r.t.Fatalf("%d of %d outputs", n, want)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			var e event
			if err := json.Unmarshal(rec.Value, &e); err != nil {
				r.t.Fatal(err)
			}
			got[e.Key] = append(got[e.Key], e.N)
			n++
		})
	}
	for key, totals := range r.sent {
		if fmt.Sprint(got[key]) != fmt.Sprint(totals) {
			r.t.Fatalf("key %s: %d totals, want %d, or in another order", key, len(got[key]), len(totals))
		}
	}
}

func newAdmin(r *rig) *kadm.Client { return kadm.NewClient(r.cl) }

// readAll reads n committed records of a topic.
func (r *rig) readAll(topic string, n int) []*kgo.Record {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 60*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		records = append(records, cl.PollFetches(ctx).Records()...)
		if ctx.Err() != nil {
			r.t.Fatalf("%s: %d of %d records", topic, len(records), n)
		}
	}
	return records
}

// leaveGroup removes a stopped engine's members, as SIGINT does.
func (r *rig) leaveGroup(run *running) {
	r.t.Helper()
	var ids []string
	for n := range run.e.p.workers {
		ids = append(ids, run.e.p.cfg.Seat.InstanceID(n))
	}
	resp, err := newAdmin(r).LeaveGroup(r.t.Context(), kadm.LeaveGroup(control.Group(r.name)).InstanceIDs(ids...))
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// commitOffset moves one offset of the group as another tool would.
func (r *rig) commitOffset(partition int32, offset int64) {
	r.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(r.name+"-in", partition, offset, -1)
	if err := newAdmin(r).CommitAllOffsets(r.t.Context(), control.Group(r.name), offsets); err != nil {
		r.t.Fatal(err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b[:len(b)-1]))
	return len(b), nil
}

// unique makes a job name that no other run on the same broker has.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixNano()%1e9) }

func TestExact(t *testing.T) {
	for _, by := range []bool{false, true} {
		t.Run(fmt.Sprintf("second stage %v", by), func(t *testing.T) {
			r := newRig(t, sums(unique("exact"), by))
			dir := t.TempDir()
			r.send(5000)
			run := r.start(dir)
			r.wantExact()
			r.send(5000)
			r.wantExact()
			if err := r.end(run); err != nil {
				t.Fatal(err)
			}
			r.send(1000)
			run = r.start(dir)
			r.wantExact()
			if err := r.end(run); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestP9TopicIsReadOnce: there is one committed offset per group, topic and
// partition, so a job that reads a topic in two stages is refused.
func TestP9TopicIsReadOnce(t *testing.T) {
	job := topology.New("twice")
	for _, out := range []string{"a", "b"} {
		topology.To(topology.From[event](job, "in", codec.JSON[event]()), out, codec.JSON[event]())
	}
	if _, err := job.Plan(); err == nil {
		t.Error("a topic that is read twice is accepted")
	}
}
