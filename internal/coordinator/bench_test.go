package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

const (
	testJob        = "alarm"
	partitionCount = 2
)

// bench is a fake cluster with a job of two stages and two stores, which runs.
type bench struct {
	t        *testing.T
	config   cluster.Config
	plan     *topology.Plan
	plane    *control.Plane
	lease    *control.Lease
	path     string
	location *savepoint.Location
	stores   map[string]string // directories of databases, by uid/partition
	limits   Limits
}

type event struct{ Room, N int }

// testPlan counts per room, and then per parity of the count.
func testPlan(t *testing.T) *topology.Plan {
	t.Helper()
	job := topology.New(testJob)
	count := func(c topology.Ctx[int64, event], e event) {
		c.Set(c.State() + 1)
		c.Emit(e)
	}
	events := topology.From[event](job, "events", codec.JSON[event]())
	counted := topology.Process(events, "rooms", count)
	keyed := topology.KeyBy(counted, "parity", func(e event) int { return e.N % 2 }, codec.JSON[event]())
	topology.To(topology.Process(keyed, "parities", count), "alarms", codec.JSON[event]())
	plan, err := job.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func newBench(t *testing.T) *bench {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitionCount, "events", "alarms"),
		kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &bench{
		t: t, config: cluster.Config{Brokers: c.ListenAddrs()}, plan: testPlan(t),
		path: filepath.Join(t.TempDir(), "savepoints"), stores: make(map[string]string), limits: DefaultLimits,
	}
	b.plane = b.open()
	s, err := seat.Take(t.TempDir(), testJob)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Release() })
	if b.lease, err = b.plane.Begin(b.context(), b.plan, s, control.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	b.location = b.openLocation(b.path)
	for _, uid := range []string{"rooms", "parities"} {
		for p := range int32(partitionCount) {
			b.stores[fmt.Sprint(uid, "/", p)] = b.database(uid, p)
		}
	}
	return b
}

// open connects to the bench as another process.
func (b *bench) open() *control.Plane {
	b.t.Helper()
	p, err := control.Open(b.context(), control.Settings{
		Cluster: b.config, Job: testJob, SessionTimeout: 500 * time.Millisecond, By: "ann@host", Logger: b.logger(),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(p.Close)
	return p
}

func (b *bench) openLocation(path string) *savepoint.Location {
	b.t.Helper()
	l, err := savepoint.OpenLocation(path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	return l
}

func (b *bench) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// context ends before the test would.
func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

// offsets are where the tasks of partition p stand at every cut.
func (b *bench) offsets(uid string, p int32) []kstate.SourceOffset {
	topic := "events"
	if uid == "parities" {
		topic = control.RepartitionTopic(testJob, 1, "parity")
	}
	offset := int64(0) // nothing was written to the repartition topic
	if uid == "rooms" {
		offset = 100 + int64(p)
	}
	return []kstate.SourceOffset{{Topic: topic, Partition: p, Offset: offset}}
}

// database makes a store's database with one row.
func (b *bench) database(uid string, p int32) (dir string) {
	b.t.Helper()
	dir = filepath.Join(b.t.TempDir(), "db")
	env := kstate.NewEnv(kstate.EnvOptions{})
	id := kstate.Identity{Store: uid, Partition: p, Generation: 1, TopicID: [16]byte{1}}
	r, err := env.Prepare(dir, id, kstate.LogBounds{End: 3, DeleteRetention: time.Hour, Now: time.Now()})
	if err != nil {
		b.t.Fatal(err)
	}
	versions, _, _ := b.lease.Schemas(uid)
	err = errors.Join(
		r.Apply(0, kstate.AppendSchemaKey(nil, 1), []byte(versions[0].Schema)),
		r.Apply(1, kstate.AppendKey(nil, []byte("7")), kstate.AppendValue(nil, 1, []byte{84})))
	if err != nil {
		b.t.Fatal(err)
	}
	db, err := r.Finish(kstate.Position{Changelog: 3, Sources: b.offsets(uid, p)})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := errors.Join(db.Close(), env.Close()); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// coordinate runs a coordinator until stop is called or the test ends.
func (b *bench) coordinate(change ...func(*Deps)) (stop func()) {
	b.t.Helper()
	d := Deps{
		Plane: b.plane, Lease: b.lease, Plan: b.plan, Location: b.location, Path: b.path,
		Limits: b.limits, Logger: b.logger(),
	}
	for _, f := range change {
		f(&d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, d) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the coordinator ended: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

// when waits until the control topic says something.
func (b *bench) when(what string, true func(*control.View) bool) *control.View {
	b.t.Helper()
	ctx := b.context()
	for {
		changed := b.lease.Tail().Changed()
		if v := b.lease.Tail().View(); true(v) {
			return v
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.t.Fatalf("never seen: %s", what)
		}
	}
}

// unfinished lists what attempts left behind.
func (b *bench) unfinished() []string {
	b.t.Helper()
	entries, err := os.ReadDir(b.path)
	if err != nil {
		b.t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			found = append(found, e.Name())
		}
	}
	return found
}

// worker obeys commands like a real one, with tasks that never move.
type worker struct {
	b        *bench
	name     string
	session  string
	tasks    []task
	location *savepoint.Location
	// dies is the phase that it does not survive.
	dies control.Phase
	died chan struct{}
	// onCut is called before it reports a cut, onDeliver may change what it
	// delivers.
	onCut     func()
	onDeliver func(*savepoint.Delivery)

	now     Command
	attempt *savepoint.Attempt
	steps   map[task]control.TaskReport
	failed  string
}

// work starts a worker with the tasks of one partition.
func (b *bench) work(name, session string, partition int32, change ...func(*worker)) *worker {
	w := &worker{b: b, name: name, session: session, location: b.location, died: make(chan struct{})}
	for _, s := range b.plan.Stages {
		w.tasks = append(w.tasks, task{s.ID, partition})
	}
	for _, f := range change {
		f(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.run(ctx); close(done) }()
	b.t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *worker) run(ctx context.Context) {
	defer close(w.died)
	for {
		changed := w.b.lease.Tail().Changed()
		if c, ok := Current(w.b.lease.Tail().View()); ok {
			if w.dies != "" && c.Phase == w.dies {
				return
			}
			w.obey(ctx, c)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// obey does what is new in a command.
func (w *worker) obey(ctx context.Context, c Command) {
	if c.Request != w.now.Request || c.Attempt != w.now.Attempt {
		w.attempt, w.failed, w.steps = nil, "", make(map[task]control.TaskReport)
		for _, t := range w.tasks {
			w.steps[t] = control.TaskReport{Stage: t.stage, Partition: t.partition, Step: control.TaskRunning}
		}
		w.now = c
		w.report(ctx)
	}
	w.now = c
	if w.failed != "" {
		return
	}
	err := w.advance(ctx)
	if err != nil && ctx.Err() == nil {
		w.failed = err.Error()
		w.report(ctx)
	}
}

func (w *worker) join() (err error) {
	if w.attempt == nil {
		w.attempt, err = w.location.Join(w.now.Request, w.now.Attempt, w.now.Token)
	}
	return err
}

func (w *worker) advance(ctx context.Context) error {
	switch w.now.Phase {
	case control.PhasePrepare:
		joined := w.attempt != nil
		if err := w.join(); err != nil {
			return err
		}
		if !joined {
			w.report(ctx)
		}
		return w.each(ctx, control.TaskPrepared, func(t task, c savepoint.Checkpoint, _ *control.TaskReport) error {
			return w.attempt.PreCopy(ctx, c)
		})
	case control.PhaseCut, control.PhaseRelease:
		if err := w.join(); err != nil { // started in the middle
			return err
		}
		if err := w.each(ctx, control.TaskQuiet, nil); err != nil {
			return err
		}
		if w.onCut != nil {
			w.onCut()
		}
		if err := w.each(ctx, control.TaskCut, nil); err != nil {
			return err
		}
		return w.each(ctx, control.TaskCopied, func(t task, c savepoint.Checkpoint, r *control.TaskReport) error {
			part, err := w.attempt.CopyPart(ctx, c)
			if err != nil {
				return err
			}
			d := savepoint.Delivery{Task: savepoint.Task{Stage: t.stage, Partition: t.partition, Sources: w.b.offsets(c.UID, t.partition)}, Parts: []savepoint.Part{part}}
			if w.onDeliver != nil {
				w.onDeliver(&d)
			}
			r.Delivery, err = w.attempt.Deliver(d)
			return err
		})
	}
	return nil
}

// each moves the tasks that the command means to a step, and reports it.
func (w *worker) each(ctx context.Context, step control.TaskStep, do func(task, savepoint.Checkpoint, *control.TaskReport) error) error {
	moved := false
	for _, t := range w.tasks {
		r := w.steps[t]
		if step != control.TaskPrepared && !w.now.Cuts(t.stage) || r.Step.Reached(step) {
			continue
		}
		uid := w.b.plan.Stages[slices.IndexFunc(w.b.plan.Stages, func(s *topology.Stage) bool { return s.ID == t.stage })].Stores[0]
		if do != nil {
			if err := w.checkpoint(uid, t, &r, do); err != nil {
				return err
			}
		}
		r.Step = step
		w.steps[t] = r
		moved = true
	}
	if moved {
		w.report(ctx)
	}
	return nil
}

func (w *worker) checkpoint(uid string, t task, r *control.TaskReport, do func(task, savepoint.Checkpoint, *control.TaskReport) error) error {
	dir, err := savepoint.OpenDir(w.b.stores[fmt.Sprint(uid, "/", t.partition)])
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(t, savepoint.Checkpoint{UID: uid, Partition: t.partition, Instance: "instance", Files: dir}, r)
}

func (w *worker) report(ctx context.Context) {
	r := control.Report{
		Request: w.now.Request, Attempt: w.now.Attempt, Worker: w.name, Session: w.session, Err: w.failed, PauseMillis: 5,
	}
	if w.attempt != nil {
		r.Joined = true
		r.Bytes = w.attempt.BytesCopied()
	}
	for _, t := range w.tasks {
		r.Tasks = append(r.Tasks, w.steps[t])
	}
	if err := w.b.lease.Report(ctx, r); err != nil && ctx.Err() == nil {
		w.b.t.Errorf("report: %v", err)
	}
}
