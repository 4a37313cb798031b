package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/kstate"
)

// begin opens a transaction.
func (w *worker) begin() error {
	if err := w.sess.Begin(); err != nil {
		return &rebuildError{causeFenced, fmt.Errorf("beginning a transaction: %w", err)}
	}
	w.txn.begun(time.Now())
	return nil
}

// commit ends the open transaction: outputs, changelog records, positions and
// source offsets together. Only when it is known to have committed do the
// overlays become state.
func (w *worker) commit() error {
	if err := w.produceState(); err != nil {
		return w.stateFailed(err)
	}
	started := time.Now()
	end := w.end(kgo.TryCommit)
	took := time.Since(started)
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
		err := t.run.Changes(func(store int, key, value []byte) error {
			r := w.produce(t.stage.stores[store].changelog, t.ref.partition, key, value)
			t.tails[store] = r
			return nil
		})
		if err != nil {
			return err
		}
		w.produce(w.p.positions, t.ref.partition,
			positionKey(t.stage.id, t.ref.partition), t.position(w.p.generation()).encode())
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

// endResult is what became of a transaction.
type endResult struct {
	outcome outcome
	cause   string // of a rebuild
	err     error
	dataErr error // the transaction was aborted because a record was refused
}

// endWait bounds the end of a transaction; after it the outcome is unknown (P20).
const endWait = 5 * time.Second

// end ends the open transaction. It runs aside, and its context is never
// cancelled, since that would leave the outcome unknown (P20).
func (w *worker) end(try kgo.TransactionEndTry) endResult {
	type answer struct {
		committed bool
		err       error
		refused   *produceError
	}
	answers := make(chan answer, 1)
	ctx := kgo.PreTxnCommitFnContext(context.Background(), w.setMetadata)
	sess, cl, txn := w.sess, w.cl, &w.txn
	go func() {
		var a answer
		if try == kgo.TryCommit {
			a.err = cl.Flush(ctx)
			a.refused = txn.failed.Load()
		}
		if a.err == nil {
			// A commit would take along what was produced and leave out
			// what was not (T2).
			a.committed, a.err = sess.End(ctx, try && a.refused == nil)
		}
		answers <- a
	}()
	timer := time.NewTimer(endWait)
	defer timer.Stop()
	select {
	case a := <-answers:
		return w.judge(try, a.committed, a.err, a.refused)
	case <-timer.C:
		return endResult{outcome: outcomeUnknown, cause: causeEndTimeout, err: fmt.Errorf("no answer to the end of a transaction within %v", endWait)}
	}
}

// judge decides what an answer of End means (T1).
func (w *worker) judge(try kgo.TransactionEndTry, committed bool, err error, refused *produceError) endResult {
	switch {
	case err != nil:
		return endResult{outcome: outcomeUnknown, cause: endCause(err), err: err}
	case committed:
		return endResult{outcome: outcomeCommitted}
	case refused != nil && dataRefused(refused.err):
		return endResult{outcome: outcomeAborted, dataErr: fmt.Errorf("writing to %s: %w", refused.topic, refused.err)}
	case refused != nil:
		return endResult{outcome: outcomeUnknown, cause: causeProduce, err: fmt.Errorf("writing to %s: %w", refused.topic, refused.err)}
	case try == kgo.TryAbort:
		return endResult{outcome: outcomeAborted}
	}
	o, err := w.askOffsets()
	return endResult{outcome: o, cause: causeUnknownCommit, err: err}
}

func endCause(err error) string {
	if isFenced(err) {
		return causeFenced
	}
	return causeUnknownCommit
}

// isFenced reports that somebody else owns the transactional id now (T8).
func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.UnknownProducerID) || errors.Is(err, kerr.InvalidProducerIDMapping)
}

// dataRefused reports that a record itself was refused: no retry helps (P22).
func dataRefused(err error) bool {
	return errors.Is(err, kerr.InvalidTimestamp) || errors.Is(err, kerr.MessageTooLarge) ||
		errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// askOffsets finds out whether a transaction of which nothing is known but that
// it did not clearly commit was aborted (T1).
func (w *worker) askOffsets() (outcome, error) {
	before := map[topicPartition]int64{}
	var topics []string
	var assigned map[taskRef]struct{}
	w.mail.read(func() { assigned = w.mail.assigned })
	for ref, t := range w.tasks {
		if _, ok := assigned[ref]; !ok || !t.touched {
			continue
		}
		for i, in := range t.inputs {
			if in.next != in.committed {
				topic := t.stage.inputs[i]
				before[topicPartition{topic, ref.partition}] = in.committed
				topics = append(topics, topic)
			}
		}
	}
	if len(before) == 0 {
		return outcomeAborted, nil
	}
	ctx, cancel := context.WithTimeout(w.p.ctx, endWait)
	defer cancel()
	resp, err := w.p.adm.FetchOffsetsForTopics(kadm.RequireStable(ctx), w.p.group, topics...)
	if err != nil {
		return outcomeUnknown, err
	}
	now := map[topicPartition]int64{}
	for tp := range before {
		if o, ok := resp.Lookup(tp.topic, tp.partition); ok {
			if o.Err != nil {
				return outcomeUnknown, o.Err
			}
			now[tp] = o.At
		}
	}
	return judgeAbort(before, now), nil
}

// setMetadata puts the generation into every offset commit (P8). It changes
// nothing else: a lower offset here would lose records (T11).
func (w *worker) setMetadata(req *kmsg.TxnOffsetCommitRequest) error {
	meta := strconv.Itoa(w.p.generation())
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			req.Topics[i].Partitions[j].Metadata = &meta
		}
	}
	return nil
}

// committed makes the overlays state.
func (w *worker) committed() error {
	now := time.Now()
	var failed error
	for _, t := range w.tasks {
		if !t.touched {
			continue
		}
		t.commit()
		t.metrics.committed(t, now)
		w.p.noteConsumed(t)
		for _, s := range t.run.Stores() {
			if err := s.Tick(now); err != nil && failed == nil {
				failed = fmt.Errorf("task %s: %w", w.p.taskName(t.ref), err)
			}
		}
	}
	printed := w.p.print(w.txn.printed)
	w.limit.grow(maxPoll)
	w.txn.ended()
	if failed != nil {
		return w.stateFailed(failed)
	}
	return printed
}

func (t *task) commit() {
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
