package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/procd/procd/internal/admin"
	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/engine"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// process runs a job in this process, from taking a seat to the last commit.
type process struct {
	plan     *topology.Plan
	commit   time.Duration // 0: the engine's default
	settings settings
	options  startOptions
	stdout   io.Writer
	log      *slog.Logger

	started    time.Time
	seat       *seat.Seat
	location   *savepoint.Location
	from       *control.Chosen // what it is to start from; nil: nothing
	admin      *admin.Server   // nil: off
	metrics    *prometheus.Registry
	savepoints *savepointMetrics
	plane      *control.Plane
	lease      *control.Lease
	workers    int
	presence   *control.Presence

	mu     sync.Mutex
	phase  string         // what it does before the engine runs
	engine *engine.Engine // nil before
}

// run works until ctx ends (nil), the job is stopped (nil) or something is
// wrong that trying again does not mend.
func (p *process) run(ctx context.Context) (err error) {
	p.started = time.Now()
	p.settings.budget.apply()
	if p.seat, err = seat.Take(p.settings.data, p.plan.Job); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.seat.Release()) }()
	p.location = savepoint.LocationAt(p.settings.savepoints)
	defer func() { err = errors.Join(err, p.closeSavepoints()) }()
	if err := p.serveAdmin(); err != nil {
		return err
	}
	defer p.closeAdmin()
	if err := p.connect(ctx); err != nil {
		return endedByUser(ctx, err)
	}
	defer p.plane.Close()
	if err := p.begin(ctx); err != nil {
		return endedByUser(ctx, err)
	}
	err = p.work(ctx)
	p.leave(ctx, err)
	if errors.Is(err, control.ErrStopped) {
		p.tellStopped()
		return nil
	}
	return err
}

// endedByUser makes nothing of an error that is only the end of ctx: nothing
// was running yet.
func endedByUser(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// connectPause is the longest pause between two attempts to reach a broker.
const connectPause = 5 * time.Second

// connect keeps trying while no broker answers: in compose and Kubernetes all
// containers start at once.
func (p *process) connect(ctx context.Context) error {
	return p.persist(ctx, "connecting to the brokers", func() (err error) {
		p.plane, err = control.Open(ctx, control.Settings{
			Cluster: p.settings.cluster, Job: p.plan.Job, SessionTimeout: engine.SessionTimeout,
			By: whoAmI(), Logger: p.log,
		})
		return err
	})
}

// begin decides, or joins what was decided.
func (p *process) begin(ctx context.Context) error {
	err := p.persist(ctx, "reading the control topic", func() (err error) {
		o, err := p.chosen(ctx)
		if err != nil {
			return err
		}
		p.lease, err = p.plane.Begin(ctx, p.plan, p.seat, o)
		return err
	})
	if err != nil {
		return err
	}
	tasks := 0
	for _, stage := range p.lease.Generation.Stages {
		tasks += int(stage.Partitions)
	}
	if p.workers = p.settings.workers; p.workers == 0 {
		p.workers = workers(p.settings.memory, tasks)
	}
	return nil
}

// persist tries until try succeeds, fails for another reason than a broker
// that is away, or ctx ends.
func (p *process) persist(ctx context.Context, phase string, try func() error) error {
	p.setPhase(phase)
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, connectPause) {
		err := try()
		if err == nil || !away(err) {
			return err
		}
		p.log.Warn("no broker answers; trying again", "phase", phase, "err", packagePrefix.ReplaceAllString(err.Error(), ""))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work runs the engine.
func (p *process) work(ctx context.Context) error {
	opts, err := p.settings.cluster.Opts()
	if err != nil {
		return err
	}
	env, err := p.stateEnv()
	if err != nil {
		return err
	}
	p.presence = p.plane.Presence()
	var eng *engine.Engine
	err = p.persist(ctx, "preparing the tasks", func() (err error) {
		eng, err = engine.New(ctx, engine.Config{
			Kafka: opts, Client: p.plane.Client(), Plan: p.plan, Lease: p.lease, Seat: p.seat, State: env,
			FetchBytes: p.settings.budget.Fetch, ProduceBytes: p.settings.budget.Produce,
			Workers: p.workers, Commit: p.commit, Stdout: p.stdout, Logger: p.log, Registry: p.metrics,
			Location: p.location, Report: p.plane.Report, Coordinate: p.coordinate,
			Announce: p.announce, OldTransactions: p.settings.cluster.AllowOldTransactions,
		})
		return err
	})
	if err != nil {
		return errors.Join(err, env.Close())
	}
	if err := p.offsetsFromState(ctx, eng); err != nil {
		return errors.Join(err, env.Close())
	}
	p.setEngine(eng)
	p.log.Info("running", "job", p.plan.Job, "generation", p.lease.Generation.Generation, "revision", p.lease.Revision,
		"seat", p.seat.ID(), "workers", p.workers, "after", time.Since(p.started).Round(time.Millisecond))
	progress := p.tellProgress()
	err = eng.Run(ctx)
	progress()
	return errors.Join(err, env.Close())
}

// offsetsFromState takes the positions recorded with the state, if that was
// asked for, and says what that changed.
func (p *process) offsetsFromState(ctx context.Context, eng *engine.Engine) error {
	if !p.options.offsetsFromState {
		return nil
	}
	moved, err := eng.OffsetsFromState(ctx)
	for _, m := range moved {
		p.log.Warn("offset taken from the state", "topic", m.Topic, "partition", m.Partition, "from", m.From, "to", m.To)
	}
	return err
}

func (p *process) stateEnv() (*kstate.Env, error) {
	files, err := openFiles(p.log)
	if err != nil {
		return nil, err
	}
	return kstate.NewEnv(kstate.EnvOptions{
		BlockCacheBytes: p.settings.budget.BlockCache,
		WriteBackBytes:  p.settings.budget.WriteBack,
		MaxOpenFiles:    files,
		Logger:          p.log,
	}), nil
}

// leaveWait bounds what a process tells the cluster when it ends.
const leaveWait = 5 * time.Second

// leave takes the presence record back, and gives the seat up unless the
// process is about to come back: SIGTERM is what a restart begins with (P3).
func (p *process) leave(ctx context.Context, cause error) {
	comesBack := cause == nil && !gaveUp(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWait)
	defer cancel()
	if p.presence != nil {
		if err := p.presence.Close(ctx); err != nil {
			p.log.Warn("could not take back what `procd status` shows of this process", "err", err)
		}
	}
	if comesBack {
		return
	}
	if err := p.giveSeatUp(ctx); err != nil {
		p.log.Warn("could not leave the group; its other members wait for the session timeout",
			"timeout", engine.SessionTimeout, "err", err)
	}
}

// giveSeatUp removes this process's own members from the group.
func (p *process) giveSeatUp(ctx context.Context) error {
	var ids []string
	for n := range p.workers {
		ids = append(ids, p.seat.InstanceID(n))
	}
	request := kadm.LeaveGroup(control.Group(p.plan.Job)).Reason("the process ends").InstanceIDs(ids...)
	left, err := kadm.NewClient(p.plane.Client()).LeaveGroup(ctx, request)
	if err != nil {
		return err
	}
	for _, l := range left.Sorted() {
		if l.Err != nil && !gone(l.Err) {
			return fmt.Errorf("%s: %w", l.InstanceID, l.Err)
		}
	}
	return nil
}

// announce tells the control topic what this process does (P1).
func (p *process) announce(tasks []control.TaskState) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	now := control.Process{
		Seat: p.seat.ID(), Host: host, PID: os.Getpid(), StartedAt: p.started.UTC(), Tasks: tasks,
		Generation: p.lease.Generation.Generation, Revision: p.lease.Revision, Run: p.lease.Run,
		Memory: &p.settings.budget.Memory,
	}
	if p.admin != nil {
		now.Admin = p.admin.Addr()
	}
	p.presence.Set(now)
}

// away reports an error that says no more than that the brokers cannot be
// reached, or not yet.
func away(err error) bool {
	return errors.Is(err, cluster.ErrUnreachable) || transient(err)
}

// serveAdmin starts the admin server before the process connects: a container
// that waits for its broker is alive.
func (p *process) serveAdmin() (err error) {
	p.metrics = prometheus.NewRegistry()
	p.savepoints = newSavepointMetrics(p.plan.Job, p.metrics)
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if p.settings.admin == adminOff {
		return nil
	}
	p.admin, err = admin.Serve(p.settings.admin, p.metrics, admin.Probes{Live: p.live, Ready: p.ready})
	if err != nil {
		return err
	}
	if p.admin.Addr() != p.settings.admin {
		p.log.Info("metrics and health", "address", p.admin.Addr())
	}
	return nil
}

func (p *process) closeAdmin() {
	if p.admin != nil {
		p.admin.Close()
	}
}
