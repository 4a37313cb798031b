package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/procd/procd/savepoint"
)

// Request asks the running job for a savepoint and returns the request as it
// counts: with an id that is known already, the one that was asked first, which
// may have its result. id must be one of savepoint.NewID.
//
// A job that does not run refuses (P6). The request names the run that is
// current now.
func (p *Plane) Request(ctx context.Context, id string, stop bool) (Request, error) {
	if err := p.attach(ctx); err != nil {
		return Request{}, err
	}
	return p.request(ctx, id, stop, false)
}

// RequestScheduled asks like [Plane.Request], on the job's own account, in a
// process that runs it.
func (p *Plane) RequestScheduled(ctx context.Context, id string) (Request, error) {
	return p.request(ctx, id, false, true)
}

func (p *Plane) request(ctx context.Context, id string, stop, scheduled bool) (Request, error) {
	if !savepoint.IsID(id) {
		return Request{}, fmt.Errorf("procd/control: %q is no id of a savepoint; one looks like 20261122T101530Z-3f9c", id)
	}
	v := p.tail.View()
	if known, ok := v.asked(id); ok {
		if known.Stop != stop {
			return known, &Refused{
				Reason: fmt.Sprintf("%s was asked already, by %s, as %s", id, known.By, kindOf(known.Stop)),
				Hint:   "use another id",
			}
		}
		return known, nil
	}
	c, ok := v.Current()
	if !ok {
		return Request{}, fmt.Errorf("%w: %s was never started", ErrNoJob, p.settings.Job)
	}
	if c.State.State != Running {
		return Request{}, &Refused{
			Reason: fmt.Sprintf("%s does not run (%s since %s)", p.settings.Job, c.State.State, c.State.At.UTC().Format("2006-01-02T15:04:05Z")),
			Hint:   "only a running job can take a savepoint; those it has are listed by procd savepoints",
		}
	}
	r := Request{
		ID: id, Generation: c.Generation.Generation, Run: c.State.Run, Stop: stop, Scheduled: scheduled,
		At: p.settings.Now().UTC(), By: p.settings.By,
	}
	value, err := encode(r)
	if err != nil {
		return Request{}, err
	}
	return r, p.write(ctx, requestKey(id), value)
}

func kindOf(stop bool) string {
	if stop {
		return "a savepoint-and-stop"
	}
	return "a savepoint without a stop"
}

// asked finds a request, with or without a result.
func (v *View) asked(id string) (Request, bool) {
	if r, ok := v.Result(id); ok {
		return r.Request, true
	}
	for _, r := range v.savepoints.requests {
		if r.ID == id {
			return r, true
		}
	}
	return Request{}, false
}

// WaitResult waits for the answer to a request and calls seen with each new
// state of the control topic meanwhile; seen may be nil. If ctx ends first the
// error is [ErrTimeout]: the job goes on with the request. If the run that was
// asked ends without an answer the error is a *[Refused].
func (p *Plane) WaitResult(ctx context.Context, r Request, seen func(*View)) (Result, error) {
	for {
		changed := p.tail.Changed()
		v := p.tail.View()
		if seen != nil {
			seen(v)
		}
		if result, ok := v.Result(r.ID); ok {
			return result, nil
		}
		if s := v.State(); s.State != Running || s.Run != r.Run {
			return Result{}, &Refused{
				Reason: fmt.Sprintf("run %d of %s, which was asked for savepoint %s, ended before it was taken", r.Run, p.settings.Job, r.ID),
				Hint:   "procd history " + p.settings.Job + " says how",
			}
		}
		if err := p.tail.Err(); err != nil {
			return Result{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return Result{}, fmt.Errorf("%w: savepoint %s; ask for it again by its id", ErrTimeout, r.ID)
			}
			return Result{}, context.Cause(ctx)
		}
	}
}

// AwaitStopped waits until the processes of a stopped run have left, and removes
// the members that do not: what [Plane.Stop] does after STOPPED. A run that is
// not stopped any more is not waited for. If ctx ends first the error is
// [ErrTimeout].
func (p *Plane) AwaitStopped(ctx context.Context, run int) (removed []string, err error) {
	if s := p.tail.View().State(); s.State == Running || s.Run != run {
		return nil, nil
	}
	return p.drain(ctx, run)
}

// Report writes what one worker says of an attempt; it returns when the broker
// has it. At is filled in.
func (p *Plane) Report(ctx context.Context, r Report) error {
	r.At = p.settings.Now().UTC()
	value, err := encode(r)
	if err != nil {
		return err
	}
	return p.write(ctx, reportKey(r.Request, r.Worker), value)
}

// Report writes what one worker of this process says of an attempt: see
// [Plane.Report].
func (l *Lease) Report(ctx context.Context, r Report) error { return l.plane.Report(ctx, r) }
