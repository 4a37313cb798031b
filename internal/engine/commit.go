package engine

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
)

// begin opens a transaction.
func (w *worker) begin() error {
	if err := w.sess.Begin(); err != nil {
		return &rebuildError{causeFenced, fmt.Errorf("beginning a transaction: %w", err)}
	}
	now := time.Now()
	w.txn.begun(now, w.beat.next(now))
	return nil
}

// commit ends the open transaction: outputs, changelog records, positions and
// source offsets together. Only when it is known to have committed do the
// overlays become state.
func (w *worker) commit() error {
	began := time.Now()
	if err := w.produceState(); err != nil {
		return w.stateFailed(err)
	}
	started := time.Now()
	end := w.end(kgo.TryCommit)
	ended := time.Now()
	w.beat.committed(began, ended)
	took := ended.Sub(started)
	w.p.metrics.commitSeconds.Observe(took.Seconds())
	if took > slowCommit {
		w.p.metrics.slowCommits.Inc()
		w.log.Warn("slow commit", "took", took, "outcome", end.outcome, "records", w.txn.records, "bytes", w.txn.bytes)
	}
	switch end.outcome {
	case outcomeCommitted:
		return w.committed()
	case outcomeAborted:
		if end.dataErr != nil {
			w.rollback()
			return w.blame(end.dataErr)
		}
		w.p.metrics.aborts.WithLabelValues(causeRevoked).Inc()
		w.rollback()
		return nil
	default:
		return &rebuildError{end.cause, end.err}
	}
}

// produceState writes the changelog records and the position of every task that
// the transaction touched.
func (w *worker) produceState() error {
	for _, t := range w.tasks {
		if !t.touched {
			continue
		}
		clear(t.tails)
		base, err := w.produceSweep(t)
		if err != nil {
			return err
		}
		err = t.run.Changes(func(store int, key, value []byte) error {
			r := w.produce(t.stage.stores[store].changelog, t.ref.partition, key, value)
			t.tails[store] = r
			return nil
		})
		if err != nil {
			return err
		}
		name := positions.Task{Stage: t.stage.id, Partition: t.ref.partition}
		w.produce(w.p.positions, t.ref.partition, name.Key(), t.position(w.p.generation(), base).Encode())
	}
	return nil
}

// produce writes a record of an internal topic. key and value stay untouched
// until the transaction has ended.
func (w *worker) produce(topic string, partition int32, key, value []byte) *kgo.Record {
	r := w.txn.record()
	r.Topic, r.Partition, r.Key, r.Value = topic, partition, key, value
	r.Timestamp = w.txn.since
	w.txn.bytes += len(key) + len(value)
	w.cl.Produce(w.p.ctx, r, w.txn.promise)
	return r
}

// committed makes the overlays state.
func (w *worker) committed() error {
	now := time.Now()
	for _, t := range w.tasks {
		if !t.touched {
			continue
		}
		if t.commit() {
			w.p.lookAtBase()
		}
		w.showBase(t)
		t.metrics.committed(t, now)
		t.owned = w.txn.since
		w.p.noteConsumed(t)
	}
	err := w.p.print(w.txn.printed)
	w.limit.grow(maxPoll)
	w.txn.ended()
	return err
}

// commit makes state of what the open transaction held, which has committed. It
// reports whether the task is detached with it from the savepoint that its
// generation began with.
func (t *task) commit() (detached bool) {
	for i, tail := range t.tails {
		if tail != nil {
			t.logs[i] = tail.Offset + 1
		}
	}
	for i := range t.inputs {
		t.inputs[i].committed = t.inputs[i].next
	}
	offsets := t.offsets()
	positions := make([]kstate.Position, len(t.logs))
	for i, log := range t.logs {
		positions[i] = kstate.Position{Changelog: log, Sources: offsets}
	}
	t.run.Commit(positions)
	t.touched = false
	return t.sweepCommitted()
}

// rollback drops what the transaction changed, after it is known not to have
// committed. The client has gone back to the committed offsets.
func (w *worker) rollback() {
	for _, t := range w.tasks {
		if t.touched {
			t.rollback()
		}
	}
	w.txn.ended()
}

func (t *task) rollback() {
	t.run.Abort()
	t.metrics.aborted(t)
	for i := range t.inputs {
		t.inputs[i].next = t.rewound(i)
	}
	t.touched = false
}

// rewound is where the client continues after an abort: at the last commit, or
// where the task started.
func (t *task) rewound(i int) int64 {
	if t.inputs[i].committed >= t.from.next[i] {
		return t.inputs[i].committed
	}
	return t.from.next[i]
}

// abort ends the open transaction, if any, without a commit. Without one it
// clears the session's memory of a revocation, which hides further ones (P19).
func (w *worker) abort(cause string) error {
	end := w.end(kgo.TryAbort)
	if w.txn.open {
		w.p.metrics.aborts.WithLabelValues(cause).Inc()
	}
	if end.outcome == outcomeUnknown {
		return &rebuildError{end.cause, end.err}
	}
	w.rollback()
	return nil
}

// dataFailed aborts the transaction because its data cannot be committed, and
// looks for the record to blame (P22).
func (w *worker) dataFailed(err error) error {
	if abortErr := w.abort(causeData); abortErr != nil {
		return abortErr
	}
	return w.blame(err)
}

// blame narrows a data failure down to one record. The transaction was aborted.
func (w *worker) blame(err error) error {
	switch w.txn.records {
	case 0:
		return &rebuildError{causeProduce, err} // no input record is at fault
	case 1:
		w.limit.blamed = &blamed{w.txn.last, w.txn.lastOffset, err}
	default:
		if !w.limit.active() {
			w.log.Warn("a commit failed because of its data; looking for the record", "records", w.txn.records, "err", err)
		}
	}
	w.limit.shrink(w.txn.records)
	return nil
}
