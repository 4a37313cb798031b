package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicPartition names an input partition.
type topicPartition struct {
	topic     string
	partition int32
}

// outcome is what is known of a transaction after its end was asked for.
type outcome int

const (
	outcomeCommitted outcome = iota
	outcomeAborted           // known: the client goes on, overlays are dropped
	outcomeUnknown           // nobody knows: the client is rebuilt (T1)
)

func (o outcome) String() string {
	return [...]string{"committed", "aborted", "unknown"}[o]
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
	e := &ending{w: w, sess: w.sess, cl: w.cl}
	if try == kgo.TryCommit {
		e.offsets = w.offsetsToCommit()
	}
	done := make(chan endResult, 1)
	go func() {
		if try == kgo.TryCommit {
			done <- e.commit(context.Background())
		} else {
			done <- e.abort(context.Background(), nil)
		}
	}()
	timer := time.NewTimer(endWait)
	defer timer.Stop()
	select {
	case r := <-done:
		return r
	case <-timer.C:
		return endResult{outcome: outcomeUnknown, cause: causeEndTimeout, err: fmt.Errorf("no answer to the end of a transaction within %v", endWait)}
	}
}

// ending is one end of a transaction. It may outlive the wait for it, so it
// touches nothing of the worker but what is safe for concurrent use.
type ending struct {
	w       *worker
	sess    *kgo.GroupTransactSession
	cl      *kgo.Client
	offsets *kmsg.TxnOffsetCommitRequest // without the producer's and the member's ids
}

// commit sends the offsets with the transaction and commits it, as Java's
// producers do (KIP-447): the group's coordinator refuses the offsets of a
// member that lost its place, and makes whoever gets its partitions wait until
// this transaction has ended.
//
// The session's own End forces a heartbeat in between. That blocks while
// another member's join is waited for, so that one killed process would stop
// the commits of all others for its session timeout (seen).
func (e *ending) commit(ctx context.Context) endResult {
	if err := e.cl.Flush(ctx); err != nil {
		return endResult{outcome: outcomeUnknown, cause: causeProduce, err: err}
	}
	if refused := e.w.txn.failed.Load(); refused != nil {
		// A commit would take along what was produced and leave out what
		// was not (T2).
		return e.abort(ctx, refused)
	}
	if err := e.sendOffsets(ctx); err != nil {
		if !offsetsRefused(err) {
			return endResult{outcome: outcomeUnknown, cause: endCause(err), err: err}
		}
		e.w.log.Debug("the group refused a commit", "err", err)
		return e.abort(ctx, nil)
	}
	if err := e.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return e.failed(ctx, err)
	}
	// Now the client's own notion of what is committed, which aborts go back
	// to. It equals what was polled, so nothing is fetched again.
	e.cl.SetOffsets(e.cl.UncommittedOffsets())
	return endResult{outcome: outcomeCommitted}
}

// failed sorts out an error of the commit itself. Only what was never attempted
// is known to be no commit (T1).
func (e *ending) failed(ctx context.Context, err error) endResult {
	if errors.Is(err, kerr.OperationNotAttempted) || errors.Is(err, kerr.TransactionAbortable) {
		return e.abort(ctx, nil)
	}
	return endResult{outcome: outcomeUnknown, cause: endCause(err), err: err}
}

// abort ends the transaction without a commit, and takes the client back to the
// committed offsets. refused is a record that did not arrive, if that is why.
func (e *ending) abort(ctx context.Context, refused *produceError) endResult {
	if _, err := e.sess.End(ctx, kgo.TryAbort); err != nil {
		return endResult{outcome: outcomeUnknown, cause: endCause(err), err: err}
	}
	switch {
	case refused == nil:
		return endResult{outcome: outcomeAborted}
	case dataRefused(refused.err):
		return endResult{outcome: outcomeAborted, dataErr: fmt.Errorf("writing to %s: %w", refused.topic, refused.err)}
	default:
		return endResult{outcome: outcomeUnknown, cause: causeProduce, err: fmt.Errorf("writing to %s: %w", refused.topic, refused.err)}
	}
}

// sendOffsets adds the offsets to the transaction.
func (e *ending) sendOffsets(ctx context.Context) error {
	id, epoch, err := e.cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	req := e.offsets
	req.ProducerID, req.ProducerEpoch = id, epoch
	req.MemberID, req.Generation = e.cl.GroupMetadata()
	if e.w.p.cfg.OldTransactions {
		if err := e.addOffsets(ctx, req); err != nil {
			return err
		}
	}
	resp, err := req.RequestWith(ctx, e.cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("committing the offset of %s partition %d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// addOffsets announces the group's offsets to a broker of before Kafka 4.0.
func (e *ending) addOffsets(ctx context.Context, offsets *kmsg.TxnOffsetCommitRequest) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.Group = offsets.TransactionalID, offsets.Group
	req.ProducerID, req.ProducerEpoch = offsets.ProducerID, offsets.ProducerEpoch
	resp, err := req.RequestWith(ctx, e.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// offsetsToCommit are the next offsets of every input of every task in the
// transaction, with the generation as metadata (P8). Those that stand are
// committed too: a transaction that only sweeps must be refused like any other
// where the task is somebody else's by now, whose values the sweep would undo.
func (w *worker) offsetsToCommit() *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID = w.instance
	req.Group = w.p.group
	req.InstanceID = &w.instance
	byTopic := map[string]int{}
	for _, t := range w.tasks {
		for i, in := range t.inputs {
			if !t.touched {
				continue
			}
			topic := t.stage.inputs[i]
			at, ok := byTopic[topic]
			if !ok {
				at = len(req.Topics)
				byTopic[topic] = at
				rt := kmsg.NewTxnOffsetCommitRequestTopic()
				rt.Topic, rt.TopicID = topic, t.stage.inputIDs[i]
				req.Topics = append(req.Topics, rt)
			}
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset = t.ref.partition, in.next
			p.Metadata = &w.p.metadata
			req.Topics[at].Partitions = append(req.Topics[at].Partitions, p)
		}
	}
	return req
}

// offsetsRefused reports an answer to the offsets that says they were not
// taken: the transaction can be aborted and the client kept.
func offsetsRefused(err error) bool {
	for _, refusal := range []error{
		kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.GroupIDNotFound, kerr.RebalanceInProgress,
		kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator,
		kerr.ConcurrentTransactions, kerr.UnknownServerError, kerr.TransactionAbortable,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
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
