package coordinator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// Deps are what a coordinator works with.
type Deps struct {
	Plane *control.Plane
	Lease *control.Lease
	Plan  *topology.Plan
	// Location is where savepoints are written; Path is its name, for results
	// and messages.
	Location *savepoint.Location
	Path     string
	// Limits default to [DefaultLimits].
	Limits Limits
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger gets each effect at debug level, and what ended an attempt as a
	// warning. Default: discarded.
	Logger *slog.Logger
}

func (d Deps) withDefaults() Deps {
	if d.Limits == (Limits{}) {
		d.Limits = DefaultLimits
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

// Run coordinates the job's savepoints until ctx ends, and then returns nil.
// The process that owns the first task runs it, from the moment it has the
// task, whether the task runs yet or not: a coordinator may be what it waits
// for. An error says that the control topic cannot be followed any more.
//
// Effects under way when ctx ends are not waited for, since a file system may
// hang: whether they count is settled by the rules of the package.
func Run(ctx context.Context, d Deps) error {
	d = d.withDefaults()
	stages, err := Stages(d.Plan, &d.Lease.Generation)
	if err != nil {
		return err
	}
	m, err := New(Config{
		Coordinator: randomText(), Stages: stages, Location: d.Path,
		Limits: d.Limits, Schedule: d.Plan.Savepoints,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &runner{
		Deps: d, machine: m, adm: kadm.NewClient(d.Plane.Client()),
		outcomes: make(chan Outcome), attempts: make(map[key]*savepoint.Attempt),
	}
	return r.run(ctx)
}

// randomText is 16 hexadecimal digits.
func randomText() string {
	var random [8]byte
	rand.Read(random[:]) // never fails, says its documentation
	return hex.EncodeToString(random[:])
}

// runner is the edge of a machine.
type runner struct {
	Deps
	machine  *Machine
	adm      *kadm.Client
	outcomes chan Outcome

	mu       sync.Mutex
	attempts map[key]*savepoint.Attempt // by what Begin made
}

func (r *runner) run(ctx context.Context) error {
	go r.tidyUp(ctx)
	tail := r.Lease.Tail()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for done := Outcome(nil); ; {
		changed := tail.Changed()
		if err := tail.Err(); err != nil && ctx.Err() == nil {
			return err
		}
		for _, e := range r.machine.Step(Event{Now: r.Now(), View: tail.View(), Done: done}) {
			r.log(e)
			go r.carryOut(ctx, e)
		}
		var due <-chan time.Time
		if at := r.machine.Deadline(); !at.IsZero() {
			timer.Reset(at.Sub(r.Now()))
			due = timer.C
		}
		done = nil
		select {
		case done = <-r.outcomes:
		case <-changed:
		case <-due:
		case <-ctx.Done():
			return nil
		}
	}
}

// log tells what the machine wants, and why an attempt has failed.
func (r *runner) log(e Effect) {
	if c, ok := e.(Claim); ok && c.Record.Reason != "" {
		r.Logger.Warn("savepoint attempt failed", "savepoint", c.request, "attempt", c.attempt-1, "reason", c.Record.Reason)
	}
	r.Logger.Debug("savepoint", "do", e.String())
}

// carryOut performs an effect and hands its outcome over.
func (r *runner) carryOut(ctx context.Context, e Effect) {
	var o Outcome
	switch e := e.(type) {
	case Claim:
		err := r.Plane.Claim(ctx, e.Record)
		if err != nil && !errors.Is(err, control.ErrOvertaken) && ctx.Err() == nil {
			r.Logger.Warn("taking up a savepoint; trying again", "savepoint", e.request, "err", err)
		}
		o = Claimed{e.key, err}
	case Begin:
		o = r.begin(e)
	case Say:
		o = Said{e.key, r.Plane.Say(ctx, e.Record)}
	case Measure:
		ends, err := r.measure(ctx, e.Topics)
		o = Measured{e.key, ends, err}
	case Publish:
		complete, err := r.publish(ctx, e)
		o = Published{e.key, complete, err}
	case Answer:
		result, err := r.Plane.Answer(ctx, e.Result, e.attempt, e.Coordinator)
		r.logAnswer(result, err)
		if err == nil {
			go r.tidyUp(ctx)
		}
		o = Answered{e.key, err}
	case Ask:
		o = Asked{Err: r.told(ctx, "asking for a scheduled savepoint", r.ask(ctx))}
	case Prune:
		o = Pruned{Err: r.told(ctx, "removing savepoints that the schedule does not keep", r.prune(ctx, e.IDs))}
	}
	select {
	case r.outcomes <- o:
	case <-ctx.Done():
	}
}

// tidyUp tidies where nothing depends on it: what cannot be removed now is tried
// again after the next savepoint.
func (r *runner) tidyUp(ctx context.Context) {
	if err := r.tidy(ctx); err != nil && ctx.Err() == nil {
		r.Logger.Warn("removing what attempts at savepoints have left", "err", err)
	}
}

// told logs what the schedule could not do, and will try again.
func (r *runner) told(ctx context.Context, what string, err error) error {
	if err != nil && ctx.Err() == nil {
		r.Logger.Warn(what+"; trying again later", "err", err)
	}
	return err
}

func (r *runner) logAnswer(result control.Result, err error) {
	switch {
	case err != nil:
		r.Logger.Warn("the result of a savepoint was not written", "err", err)
	case !result.Saved:
		r.Logger.Error("savepoint failed", "savepoint", result.ID, "reason", result.Reason)
	default:
		r.Logger.Info("savepoint taken", "savepoint", result.ID, "bytes", result.Bytes, "rows", result.Rows,
			"pause", time.Duration(result.PauseMillis)*time.Millisecond, "stopped", result.Stopped)
	}
}
