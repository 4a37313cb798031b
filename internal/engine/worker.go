package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// worker is one goroutine with one group member and one transactional producer
// (architecture, section 4). Its fields are touched by its own goroutine only,
// but for what mailbox holds. kgo calls the rebalance callbacks on a goroutine
// of its own, while the worker waits in a poll: they may close tasks too (P19).
type worker struct {
	p   *process
	n   int
	log *slog.Logger

	sess *kgo.GroupTransactSession
	cl   *kgo.Client
	link *link // of the callbacks of cl
	// client are the metrics of cl. A successor gets its own, since the old
	// client may still be closing.
	client *kprom.Metrics
	tasks  map[taskRef]*task
	byTP   map[topicPartition]*task
	mail   mailbox

	txn   transaction
	beat  beat
	limit commitLimit
	part  *part // in the savepoint that is being taken; nil: none
	// session is another one whenever the worker joined or its tasks changed.
	session string
	reports *reporter
	// answered are the questions about state that this worker has answered.
	answered map[answered]struct{}
	rec      topology.Record // the record at hand, reused

	identity string       // of the seat, when the client was built
	instance string       // static member id and transactional id of the client
	member   string       // what the broker calls the member that is given up
	lastStep atomic.Int64 // unix ns of the last turn of the loop, for /livez
	ticked   time.Time    // when the stores were ticked last
	fenced   time.Time    // when the producer was fenced last (P4)
}

func newWorker(p *process, n int) *worker {
	w := &worker{
		p: p, n: n,
		log:   p.log.With("worker", n),
		tasks: map[taskRef]*task{},
		byTP:  map[topicPartition]*task{},
		txn:   transaction{most: p.cfg.transactionBytes()},
		beat:  newBeat(time.Now(), p.cfg.Commit, n, p.cfg.Workers),

		reports:  newReporter(),
		answered: map[answered]struct{}{},
	}
	w.step()
	return w
}

// run joins the group and works until ctx ends or the job must stop here. It
// never gives up because the broker is away.
func (w *worker) run(ctx context.Context) error {
	for attempt := 0; ctx.Err() == nil; {
		w.step()
		if err := w.join(ctx); err != nil {
			if ctx.Err() != nil {
				break
			}
			attempt++
			w.log.Warn("joining the group failed; trying again", "err", err, "attempt", attempt)
			wait(ctx, backoff(attempt))
			continue
		}
		attempt = 0
		err := w.work(ctx)
		var rebuild *rebuildError
		w.leave(err == nil || errors.As(err, &rebuild) && rebuild.cause == causeRenewed)
		switch {
		case errors.As(err, &rebuild):
			w.p.metrics.rebuilds.WithLabelValues(rebuild.cause).Inc()
			w.log.Warn("rebuilding the client", "cause", rebuild.cause, "err", rebuild.err)
			if err := w.p.afterRebuild(ctx, w, rebuild); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// rebuildError asks for a new client: what the old one did is not known, or
// somebody else owns its identity now.
type rebuildError struct {
	cause string // metric label: one of the cause constants
	err   error
}

func (e *rebuildError) Error() string { return fmt.Sprintf("%s: %v", e.cause, e.err) }
func (e *rebuildError) Unwrap() error { return e.err }

const (
	causeUnknownCommit  = "unknown-commit"
	causeEndTimeout     = "end-timeout"
	causeFenced         = "fenced"
	causeFencedInstance = "fenced-instance"
	causeRenewed        = "seat-renewed"
	causeGroupSession   = "group-session"
	causeProduce        = "produce"
	causeOwnership      = "ownership"
	causeProtocol       = "group-protocol"
	causeOpen           = "open"
	causeCorrupt        = "corrupt-state"
	causeRange          = "offset-out-of-range"

	// Causes of aborts.
	causeRevoked = "rebalance"
	causeData    = "data"
	causeFailed  = "failed"
	// causeSuperseded: another generation or revision is current.
	causeSuperseded = "superseded"
)

// work is the loop: poll, look at what the group said, process, commit.
func (w *worker) work(ctx context.Context) error {
	for {
		w.step()
		fetches := w.poll(ctx)
		if len(fetches) == 0 {
			continue // kgo holds no rebalance back: touch no task (P19)
		}
		if ctx.Err() != nil && fetches.NumRecords() == 0 {
			return w.finish(ctx)
		}
		if err := w.turn(ctx, fetches); err != nil {
			return w.failed(err)
		}
		if w.txn.open {
			continue
		}
		if err := w.outdated(); err != nil {
			return err
		}
		w.sess.AllowRebalance()
	}
}

// outdated asks for a new client if another worker of the process gave the seat a
// new identity: what keeps the old one would not be found by the next start, nor
// removed at the end, and whoever holds a copy of the seat may want it (P4).
func (w *worker) outdated() error {
	id := w.p.cfg.Seat.ID()
	if id == w.identity {
		return nil
	}
	w.member, _ = w.cl.GroupMetadata()
	return &rebuildError{causeRenewed, fmt.Errorf("the seat is %s now, it was %s", id, w.identity)}
}

// turn is one turn of the loop after a poll that holds rebalances back.
func (w *worker) turn(ctx context.Context, fetches kgo.Fetches) error {
	if err := w.fetchError(fetches); err != nil {
		return err
	}
	rewound, err := w.reconcile(ctx, fetches)
	if err != nil {
		return err
	}
	if rewound {
		return nil // what was fetched is fetched again
	}
	w.follow()
	w.applyPauses()
	if err := w.process(fetches); err != nil {
		return w.stateFailed(err)
	}
	if err := w.sweep(); err != nil {
		return err
	}
	now := time.Now()
	if w.txn.open && (w.limit.active() || w.txn.due(now)) {
		if err := w.commit(); err != nil {
			return err
		}
	}
	if err := w.attend(); err != nil {
		return err
	}
	if err := w.answer(); err != nil {
		return err
	}
	return w.tick(now)
}

// tickEvery is how often the stores may start to write to disk, also while
// nothing comes in. It is below the least useful commit interval, so that
// memory pressure is met in time.
const tickEvery = 100 * time.Millisecond

// tick lets the stores write what is committed.
func (w *worker) tick(now time.Time) error {
	if w.txn.open || now.Sub(w.ticked) < tickEvery {
		return nil
	}
	w.ticked = now
	for _, t := range w.tasks {
		if t.state != taskRunning {
			continue
		}
		for _, s := range t.run.Stores() {
			if err := s.Tick(now, t.owned); err != nil {
				return w.stateFailed(fmt.Errorf("task %s: %w", w.p.taskName(t.ref), err))
			}
		}
		t.metrics.sizes(t, now)
	}
	return nil
}

// applyPauses pauses and resumes the inputs of running tasks: they stand still
// while there is no room on the disk (S9), and for a savepoint.
func (w *worker) applyPauses() {
	low := w.p.diskLow.Load()
	for _, t := range w.tasks {
		pause := low || w.part != nil && w.part.frozen(t)
		switch {
		case t.state != taskRunning || t.paused == pause:
			continue
		case pause:
			w.cl.PauseFetchPartitions(t.partitions())
		default:
			w.cl.ResumeFetchPartitions(t.partitions())
		}
		t.paused = pause
	}
}

// maxPoll bounds one poll, so that the commit interval is kept roughly while
// there is much to read. What is polled is processed before End (T11).
const maxPoll = 20_000

// idlePoll bounds a poll with nothing to commit; news wake it earlier.
// savepointPoll does while a savepoint is taken, when a flush may have ended.
const (
	idlePoll      = time.Second
	savepointPoll = 10 * time.Millisecond
)

func (w *worker) poll(ctx context.Context) kgo.Fetches {
	idle := idlePoll
	if w.part != nil {
		idle = savepointPoll
	}
	pctx, cancel := context.WithTimeout(ctx, w.txn.untilDue(idle))
	defer cancel()
	w.mail.onNews(cancel)
	defer w.mail.onNews(nil)
	return w.sess.PollRecords(pctx, w.limit.poll(maxPoll))
}

// fetchError sorts out the errors in a fetch. Those that say only that the
// client tries again are not errors.
func (w *worker) fetchError(fetches kgo.Fetches) error {
	var found error
	fetches.EachError(func(topic string, partition int32, err error) {
		var lost *kgo.ErrDataLoss
		switch {
		case found != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case errors.Is(err, kerr.FencedInstanceID):
			found = &rebuildError{causeFencedInstance, err}
		case errors.Is(err, kerr.InconsistentGroupProtocol):
			found = &rebuildError{causeProtocol, err}
		case errors.As(err, &lost):
			found = &PartitionError{Topic: topic, Partition: partition, Err: err, Advice: "records that the state has seen were lost by the broker; go back to a savepoint, or begin anew with `procd reset`"}
		case errors.Is(err, kerr.OffsetOutOfRange):
			found = &rebuildError{causeRange, fmt.Errorf("topic %s partition %d: %w", topic, partition, err)} // opening again says what is lost
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
			found = w.p.topicGone(topic, err)
		case errors.Is(err, kgo.ErrClientClosed):
			found = &rebuildError{causeGroupSession, err}
		default:
			w.log.Warn("fetching; the client tries again", "topic", topic, "partition", partition, "err", err)
		}
	})
	return found
}

// step notes that the loop is alive.
func (w *worker) step() { w.lastStep.Store(time.Now().UnixNano()) }

// finish ends the open transaction: with a commit, where that is possible. Once
// another generation is current, its outputs would stand beside those that the
// other one makes of the same records (P2).
func (w *worker) finish(ctx context.Context) error {
	switch {
	case !w.txn.open:
		return nil
	case errors.Is(context.Cause(ctx), control.ErrSuperseded):
		return w.abort(causeSuperseded)
	}
	return w.commit()
}

// stateFailed sorts out an error of processing or of a store. Data that cannot
// be committed is narrowed down to one record (P22); a corrupt local copy is
// wiped when its store is closed, and restored (S9).
func (w *worker) stateFailed(err error) error {
	var key *kstate.KeyError
	switch {
	case errors.Is(err, kstate.ErrCorrupt):
		return &rebuildError{causeCorrupt, err}
	case errors.Is(err, kstate.ErrIsolate), errors.As(err, &key):
		return w.dataFailed(err)
	}
	return err
}

// failed ends the open transaction before the worker gives up for good, so that
// it holds nobody back until its timeout (T4).
func (w *worker) failed(err error) error {
	var rebuild *rebuildError
	if !w.txn.open || errors.As(err, &rebuild) {
		return err // the next client fences what this one left open
	}
	if abortErr := w.abort(causeFailed); abortErr != nil {
		w.log.Warn("ending the open transaction failed; it ends by its timeout", "err", abortErr)
	}
	return err
}

// leave closes tasks and client. A clean leave writes what is committed to
// disk; otherwise the changelog has it.
func (w *worker) leave(clean bool) {
	w.mail.reset() // from here on this process is not ready
	for _, t := range w.tasks {
		if t.touched {
			t.rollback()
		}
	}
	if w.part != nil {
		w.part.leave()
		w.part = nil
	}
	w.txn.replaced()
	sess, closed := w.sess, make(chan struct{})
	go func() {
		defer close(closed)
		// Close hangs while a poll holds a rebalance back (T1). As a static
		// member it does not leave the group (P3).
		sess.CloseAllowingRebalance()
	}()
	select {
	case <-closed:
	case <-time.After(closeWait):
		w.log.Warn("the Kafka client takes long to close; going on without it")
	}
	w.link.sever()
	w.mail.reset() // the client may have had a last word
	for ref := range w.tasks {
		w.drop(ref, clean)
	}
}

// closeWait bounds the wait for a client's end; beyond it, it ends by itself.
const closeWait = 5 * time.Second

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// backoff grows from 100 ms to 5 s.
func backoff(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(attempt-1, 10), 5*time.Second)
}
