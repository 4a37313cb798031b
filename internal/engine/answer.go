package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
)

// answer tells those who asked for the state of a key what it is, if this worker
// has the key's partition. It runs at the end of a turn; while a transaction is
// open the question waits, so that what is told has committed.
func (w *worker) answer() error {
	questions := w.p.cfg.Lease.Tail().View().Questions()
	if len(questions) == 0 {
		clear(w.answered)
		return nil
	}
	if w.txn.open {
		return nil
	}
	for _, q := range questions {
		if q.Generation != w.p.generation() || q.Run != w.p.cfg.Lease.Run {
			continue
		}
		for _, t := range w.tasks {
			if err := w.answerFor(t, q); err != nil {
				return err
			}
		}
	}
	return nil
}

// answered names an answer that a worker gave.
type answered struct {
	question string
	task     taskRef
}

// answerFor answers a question once, if the task is where the key belongs.
func (w *worker) answerFor(t *task, q control.Question) error {
	given := answered{q.ID, t.ref}
	store := slices.IndexFunc(t.stage.stores, func(s storeLayout) bool { return s.uid == q.Store })
	if _, done := w.answered[given]; done || store < 0 || t.state != taskRunning {
		return nil
	}
	a := control.Answer{Question: q.ID, Partition: t.ref.partition, Of: 1, Worker: w.instance, Sources: t.offsets()}
	switch owner := w.p.partition(t.ref.stage, q.Key); owner {
	case t.ref.partition:
	case anyPartition:
		a.Of = t.stage.partitions
	default:
		return nil
	}
	value, err := t.run.Stores()[store].Peek(q.Key)
	if err != nil {
		return w.stateFailed(fmt.Errorf("task %s: %w", w.p.taskName(t.ref), err))
	}
	if value != nil {
		if a.Version, a.Data, err = kstate.ParseValue(value); err != nil {
			return fmt.Errorf("task %s: %w", w.p.taskName(t.ref), err)
		}
	}
	w.answered[given] = struct{}{}
	w.p.aside.Go(func() {
		if err := w.p.cfg.Lease.Answer(w.p.ctx, a); err != nil {
			w.log.Warn("answering a question about a key's state; who asked waits in vain", "by", q.By, "err", err)
		}
	})
	return nil
}

// anyPartition is where keys are that a partitioner says nothing about (P24).
const anyPartition = -1

// partition is where a key's state is in a stage, or anyPartition.
func (p *process) partition(stage int, key []byte) int32 {
	in := p.plan.Stages[stage].Inputs[0]
	return p.layout.topics[in.Topic].partitioner.Partition(key, p.layout.stages[stage].partitions)
}

// tidyQuestions removes what askers left behind that were killed. The owner of
// the first task does it for the job.
func (p *process) tidyQuestions(ctx context.Context) {
	var left control.Leftovers
	for ctx.Err() == nil {
		for _, id := range left.Find(p.cfg.Lease.Tail().View(), time.Now()) {
			if !p.ownsFirst() {
				break
			}
			if err := p.cfg.Lease.Withdraw(ctx, id); err != nil && ctx.Err() == nil {
				p.log.Warn("removing a question that nobody waits for; trying again later", "err", err)
			}
		}
		wait(ctx, watchEvery)
	}
}

func (p *process) ownsFirst() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.states[firstTask]
	return ok
}
