package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// stopMargin is added to the session timeout before members that are
	// still in the group of a stopped job are removed.
	stopMargin = 5 * time.Second
	stopPoll   = 100 * time.Millisecond
	drainPause = 500 * time.Millisecond // while no broker answers
)

// StopResult is what a stop did.
type StopResult struct {
	Generation int      `json:"generation"`
	Run        int      `json:"run"`
	Already    bool     `json:"already"` // it was not running before
	Removed    []string `json:"removed"` // members that did not leave by themselves
}

// Stop makes STOPPED durable and waits until the group is empty and nothing
// that the job began can still commit (P5, P6). If ctx ends before that the
// error is [ErrTimeout]: the job is stopped, and Stop can be asked again.
//
// It means the run that is current when it is called; a run that somebody
// starts meanwhile is not stopped.
func (p *Plane) Stop(ctx context.Context) (StopResult, error) {
	if err := p.attach(ctx); err != nil {
		return StopResult{}, err
	}
	asked, ok := p.tail.View().Current()
	if !ok {
		return StopResult{}, fmt.Errorf("%w: %s was never started", ErrNoJob, p.settings.Job)
	}
	result := StopResult{
		Generation: asked.Generation.Generation, Run: asked.State.Run,
		Already: asked.State.State != Running,
	}
	err := p.decide(ctx,
		func(ctx context.Context) error { return p.tryStop(ctx, asked.State) },
		func() bool { return p.tail.View().State() != asked.State },
	)
	if err != nil {
		return result, err
	}
	removed, err := p.drain(ctx, asked.State.Run)
	result.Removed = removed
	return result, err
}

// attach reads the control topic of a job that must exist.
func (p *Plane) attach(ctx context.Context) error {
	control := ControlTopic(p.settings.Job)
	found, err := p.find(ctx, control)
	if err != nil {
		return err
	}
	if _, ok := found[control]; !ok {
		return fmt.Errorf("%w: topic %s does not exist", ErrNoJob, control)
	}
	p.follow()
	return p.tail.ReadToEnd(ctx)
}

func (p *Plane) tryStop(ctx context.Context, asked State) error {
	d, err := p.becomeDecider(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	now := p.tail.View().State()
	switch {
	case now.Run != asked.Run:
		return &Refused{
			Reason: fmt.Sprintf("run %d, which was to be stopped, is over: %s started run %d meanwhile", asked.Run, now.By, now.Run),
			Hint:   "procd stop " + p.settings.Job + " again if you mean that one",
		}
	case now.State != Running:
		return nil
	}
	return d.commit(ctx, p.stateEntry(Stopped, now))
}

// stateEntry changes the word of the state and nothing else.
func (p *Plane) stateEntry(word RunState, now State) []entry {
	now.State, now.At, now.By = word, p.settings.Now().UTC(), p.settings.By
	var list entryList
	addState(&list, now)
	return list.entries
}

// drain waits for the processes to leave, removes the members of those that do
// not, and fences whatever may still be asleep with an open transaction. STOPPED
// is durable by now: a broker that is away is waited for like a process.
func (p *Plane) drain(ctx context.Context, run int) (removed []string, err error) {
	for {
		var now []string
		now, err = p.empty(ctx)
		removed = append(removed, now...)
		if err == nil {
			err = p.settle(ctx, run)
		}
		if err == nil || ctx.Err() != nil || !passes(err) {
			break
		}
		p.settings.Logger.Warn("waiting for the brokers", "err", err)
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
		}
	}
	if err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %s is stopped, but members have not left yet; run the same command again to wait on",
			ErrTimeout, p.settings.Job)
	}
	return removed, err
}

func (p *Plane) empty(ctx context.Context) (removed []string, err error) {
	patience := time.NewTimer(p.settings.SessionTimeout + stopMargin)
	defer patience.Stop()
	for {
		group, err := p.members(ctx)
		if err != nil || len(group.all) == 0 {
			return removed, err
		}
		_, names := group.split("")
		select {
		case <-time.After(stopPoll):
		case <-ctx.Done():
			return removed, context.Cause(ctx)
		case <-patience.C:
			if err := p.leave(ctx, "the job was stopped", group.instances()...); err != nil {
				return removed, err
			}
			removed = names
			patience.Reset(p.settings.SessionTimeout + stopMargin)
		}
	}
}

// settle fences the job's transactions, unless it runs again, and takes back
// what processes that are gone said of themselves.
func (p *Plane) settle(ctx context.Context, run int) error {
	if err := p.tail.ReadToEnd(ctx); err != nil {
		return err
	}
	if now := p.tail.View().State(); now.State == Running || now.Run != run {
		return nil
	}
	if err := p.fence(ctx); err != nil {
		return err
	}
	for _, process := range p.tail.View().Processes() {
		if err := p.write(ctx, processKey(process.Seat), nil); err != nil {
			return err
		}
	}
	return nil
}
