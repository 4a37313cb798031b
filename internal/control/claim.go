package control

import (
	"context"
	"errors"
	"fmt"
)

// ErrOvertaken says that another coordinator is further with a savepoint, or
// that it has its result: what this one does for it counts no more (P14).
var ErrOvertaken = errors.New("procd/control: another coordinator took over the savepoint")

// MayClaim says whether an attempt can begin, in a view that was read to its
// end by the decider: nil, or [ErrOvertaken].
func (v *View) MayClaim(a Attempt) error {
	request, ok := v.pending(a.Request)
	switch known := v.savepoints.attempts[a.Request]; {
	case !ok, v.state.State != Running, v.state.Run != request.Run:
		return fmt.Errorf("%w: %s is not asked for any more", ErrOvertaken, a.Request)
	case known.Attempt == a.Attempt && known.Coordinator == a.Coordinator:
		return nil // written by an earlier try whose outcome was not known
	case known.Attempt >= a.Attempt:
		return fmt.Errorf("%w: %s is at attempt %d", ErrOvertaken, a.Request, known.Attempt)
	}
	return nil
}

// MayAnswer says whether the coordinator of an attempt can answer its request,
// in a view that was read to its end by the decider: nil, or [ErrOvertaken]. A
// request of another run is anybody's to answer.
func (v *View) MayAnswer(r Result, attempt int, coordinator string) error {
	request, ok := v.pending(r.ID)
	if !ok {
		return fmt.Errorf("%w: %s has its result", ErrOvertaken, r.ID)
	}
	known := v.savepoints.attempts[r.ID]
	over := v.state.Run != request.Run
	if !over && (known.Attempt != attempt || known.Coordinator != coordinator) {
		return fmt.Errorf("%w: %s is at attempt %d", ErrOvertaken, r.ID, known.Attempt)
	}
	return nil
}

// Settle makes of a proposed result what the view allows: a job that was
// stopped by somebody else, or runs again, is not stopped at the savepoint.
func (v *View) Settle(r Result) Result {
	if r.Stopped && (v.state.State != Running || v.state.Run != r.Run) {
		r.Stopped = false
		r.Reason = fmt.Sprintf("the job is %s, run %d, by %s", v.state.State, v.state.Run, v.state.By)
	}
	return r
}

// pending finds a request that has no result.
func (v *View) pending(id string) (Request, bool) {
	if _, answered := v.Result(id); answered {
		return Request{}, false
	}
	return v.asked(id)
}

// Claim begins an attempt at a savepoint, as the decider. From here on the
// results of earlier attempts are refused, and the workers follow this one
// (P14). The error is [ErrOvertaken] where another coordinator was faster.
func (p *Plane) Claim(ctx context.Context, a Attempt) error {
	a.At = p.settings.Now().UTC()
	claimed := func(v *View) bool { return v.savepoints.attempts[a.Request].Attempt >= a.Attempt }
	return p.asDecider(ctx, func(v *View) (list entryList, err error) {
		if err := v.MayClaim(a); err != nil || claimed(v) {
			return list, err
		}
		add(&list, attemptKey(a.Request), a)
		return list, nil
	}, claimed)
}

// Say writes a later record of an attempt that this coordinator has claimed.
func (p *Plane) Say(ctx context.Context, a Attempt) error {
	a.At = p.settings.Now().UTC()
	value, err := encode(a)
	if err != nil {
		return err
	}
	return p.write(ctx, attemptKey(a.Request), value)
}

// Answer writes the result of a request, as the decider, and what follows from
// it, in one transaction: STOPPED where it says so, and the end of all that
// the topic holds of the request otherwise. It returns the result as it
// counts. The error is [ErrOvertaken] where it is not this attempt's to give.
func (p *Plane) Answer(ctx context.Context, r Result, attempt int, coordinator string) (Result, error) {
	r.Finished = p.settings.Now().UTC()
	var counts Result
	answered := func(v *View) bool {
		counts, _ = v.Result(r.ID)
		return counts.Finished.Equal(r.Finished) && counts.Attempts == r.Attempts
	}
	err := p.asDecider(ctx, func(v *View) (list entryList, err error) {
		if answered(v) { // by an earlier try whose outcome was not known
			return list, nil
		}
		if err := v.MayAnswer(r, attempt, coordinator); err != nil {
			return list, err
		}
		counts = v.Settle(r)
		return p.answerEntries(v, counts), nil
	}, answered)
	return counts, err
}

// answerEntries are the records of an answer.
func (p *Plane) answerEntries(v *View, r Result) entryList {
	var list entryList
	add(&list, resultKey(r.ID), r)
	if r.Stopped {
		state := v.State()
		state.State, state.Savepoint, state.At, state.By = Stopped, r.ID, r.Finished, r.By
		addState(&list, state)
	}
	list.remove(requestKey(r.ID), attemptKey(r.ID))
	for _, report := range v.savepoints.reports[r.ID] {
		list.remove(reportKey(r.ID, report.Worker))
	}
	return list
}

// Forget takes back results, as the decider, before their savepoints are
// removed: `latest` must not lead to what is gone. The error is *[Refused], and
// nothing is taken back, where the job needs one of them by now.
func (p *Plane) Forget(ctx context.Context, ids ...string) error {
	if err := p.attach(ctx); err != nil {
		return err
	}
	known := func(v *View) (list entryList) {
		for _, id := range ids {
			if _, ok := v.Result(id); ok {
				list.remove(resultKey(id))
			}
		}
		return list
	}
	return p.asDecider(ctx, func(v *View) (entryList, error) {
		for _, id := range ids {
			if err := v.refuseUsed(id); err != nil {
				return entryList{}, err
			}
		}
		return known(v), nil
	}, func(v *View) bool { return len(known(v).entries) == 0 })
}

// asDecider writes, in one transaction, what decide makes of the view that only
// this decider can change; settled says of a view that nothing is left to be
// written.
func (p *Plane) asDecider(ctx context.Context, decide func(*View) (entryList, error), settled func(*View) bool) error {
	return p.decide(ctx, func(ctx context.Context) error {
		d, err := p.becomeDecider(ctx)
		if err != nil {
			return err
		}
		defer d.close()
		list, err := decide(p.tail.View())
		if err != nil || list.err != nil || len(list.entries) == 0 {
			return errors.Join(err, list.err)
		}
		return d.commit(ctx, list.entries)
	}, func() bool { return settled(p.tail.View()) })
}

// remove adds tombstones.
func (l *entryList) remove(keys ...string) {
	for _, key := range keys {
		l.entries = append(l.entries, entry{key: key})
	}
}
