package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/internal/control"
)

// Engine runs the workers of one process.
type Engine struct {
	p *process
}

// New prepares the engine of a process that holds a lease. Run it once. After an
// error nothing is left of it: it can be called again, say when the brokers are
// back.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	p, err := newProcess(ctx, cfg.withDefaults())
	if err != nil {
		return nil, err
	}
	return &Engine{p}, nil
}

// Run works until parent ends (nil: every worker has committed and closed its
// client; as static members they keep their seat in the group, P3), the job is
// stopped ([control.ErrStopped]) or superseded ([control.ErrSuperseded]), or
// something is wrong that trying again does not mend.
func (e *Engine) Run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	p := e.p
	// Records are produced with a context that outlives ctx: the last commit
	// comes after it.
	var stop context.CancelFunc
	p.ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(stopWait, stop) })

	var others, workers sync.WaitGroup
	others.Go(func() { cancel(p.watchControl(ctx)) })
	others.Go(func() { cancel(p.watchSurroundings(ctx)) })
	others.Go(func() { p.purge(ctx) })
	others.Go(func() { p.watchBase(ctx) })
	others.Go(func() { p.tidySeat(ctx) })
	others.Go(func() { p.tidyQuestions(ctx) })
	for _, w := range p.workers {
		if cfg := p.cfg; cfg.Report != nil {
			others.Go(func() { w.reports.run(ctx, cfg.Report, w.warnReport) })
		}
		workers.Go(func() {
			if err := w.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	cancel(nil)
	if !waitFor(&p.aside, asideWait) {
		p.log.Warn("a file system does not answer; ending without what waits for it")
	}
	others.Wait()
	if err := context.Cause(ctx); err != context.Canceled && err != context.Cause(parent) {
		return err
	}
	return nil
}

// asideWait bounds the wait for what was begun beside the loops and reads or
// writes files: a copy to a shared file system that hangs can be given up, but
// not ended. What it would still write belongs to an attempt that is over (P14).
const asideWait = 5 * time.Second

// waitFor waits for all of a group, for d at most, and reports whether they have
// ended.
func waitFor(all *sync.WaitGroup, d time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		all.Wait()
	}()
	select {
	case <-ended:
		return true
	case <-time.After(d):
		return false
	}
}

// stopWait bounds what a worker may take for its last commit.
const stopWait = 2 * endWait

// LastStep is when the slowest worker's loop last made a step: for /livez.
func (e *Engine) LastStep() time.Time {
	oldest := time.Now()
	for _, w := range e.p.workers {
		if at := time.Unix(0, w.lastStep.Load()); at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// Assigned reports whether the group has told every worker its tasks, be it
// none. Before that, and while a worker joins again, Tasks may be short.
func (e *Engine) Assigned() bool {
	all := true
	for _, w := range e.p.workers {
		w.mail.read(func() { all = all && w.mail.assigned != nil })
	}
	return all
}

// Tasks lists the tasks of this process, sorted by stage and partition.
func (e *Engine) Tasks() []control.TaskState { return e.p.tasks() }

// topicGone sorts out a fetch error that says a topic is unknown: for a moment
// after the broker came back, or for good.
func (p *process) topicGone(topic string, err error) error {
	ctx, cancel := context.WithTimeout(p.ctx, watchEvery)
	defer cancel()
	if gone := p.checkSources(ctx); gone != nil {
		return gone
	}
	return &rebuildError{causeGroupSession, fmt.Errorf("topic %s: %w", topic, err)}
}

// unblock ends open transactions of the job's workers that are no members of
// the group any more: they hold back what restoring has to read (T4).
func (p *process) unblock(ctx context.Context) error {
	groups, err := p.adm.DescribeGroups(ctx, p.group)
	if err != nil {
		return fmt.Errorf("procd/engine: asking who is in the group: %w", err)
	}
	group := groups[p.group]
	if group.Err != nil {
		return fmt.Errorf("procd/engine: asking who is in the group: %w", group.Err)
	}
	live := map[string]bool{}
	for _, m := range group.Members {
		if m.InstanceID != nil {
			live[*m.InstanceID] = true
		}
	}
	ids, err := p.openTransactions(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if live[id] {
			continue
		}
		p.log.Info("ending the transaction of a worker that is gone", "transactional_id", id)
		if err := p.cfg.Lease.Fence(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// openTransactions lists the job's transactional ids that have a transaction
// open, the decider's not among them (P5).
func (p *process) openTransactions(ctx context.Context) ([]string, error) {
	listed, err := p.adm.ListTransactions(ctx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("procd/engine: listing transactions: %w", err)
	}
	var ids []string
	for id, t := range listed {
		if strings.HasPrefix(id, p.group+".") && id != control.ControlID(p.cfg.Lease.Job) && t.State == "Ongoing" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// afterRebuild does what a rebuild's cause asks for before the next join.
func (p *process) afterRebuild(ctx context.Context, w *worker, r *rebuildError) error {
	switch r.cause {
	case causeFencedInstance:
		return p.renewSeat(w)
	case causeFenced:
		again := time.Since(w.fenced) < SessionTimeout
		w.fenced = time.Now()
		if again {
			return p.renewSeat(w)
		}
	case causeRenewed:
		if err := p.removeMember(ctx, w.instance, w.member); err != nil {
			p.log.Warn("could not leave the group under the old identity; its tasks wait for the session timeout", "member", w.instance, "err", err)
		}
		return nil
	case causeProtocol:
		if err := p.cfg.Lease.Verify(ctx); err != nil && p.final(err) {
			return err
		}
	}
	wait(ctx, 50*time.Millisecond)
	return nil
}

// renewSeat takes a new identity: somebody else holds a copy of this seat's
// directory, and the two would evict each other for ever (P4).
func (p *process) renewSeat(w *worker) error {
	id, err := p.cfg.Seat.Renew(w.identity)
	if err != nil {
		return err
	}
	p.log.Warn("somebody else uses a copy of this seat; taking a new identity", "old", w.identity, "new", id)
	p.wake() // the other workers take it too
	return nil
}

// removeMember removes a static member of this process from the group. Another
// one under the same name, on a copy of the seat, stays.
func (p *process) removeMember(ctx context.Context, instance, member string) error {
	m := kmsg.NewLeaveGroupRequestMember()
	m.InstanceID, m.MemberID = &instance, member
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.Members = p.group, append(req.Members, m)
	resp, err := req.RequestWith(ctx, p.cfg.Client)
	if err != nil {
		return err
	}
	codes := []int16{resp.ErrorCode}
	for _, left := range resp.Members {
		codes = append(codes, left.ErrorCode)
	}
	for _, code := range codes {
		err := kerr.ErrorForCode(code)
		if err != nil && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.FencedInstanceID) {
			return err
		}
	}
	return nil
}
