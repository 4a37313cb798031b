package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// task is a (stage, partition) that this worker owns.
type task struct {
	ref    taskRef
	stage  *stageLayout
	from   *start // the offset fetch it was opened for
	inputs []input

	state   taskState
	ctx     context.Context // of opening
	cancel  context.CancelFunc
	opening chan opened    // the result; nil once taken
	run     *topology.Task // while running

	metrics *taskMetrics
	owned   time.Time       // when it was certainly ours: when it started, or committed (P17)
	paused  bool            // its inputs are; from the start, until applyPauses
	touched bool            // in the open transaction
	sweep   *sweep          // nil: none, or done
	base    *positions.Base // without a sweep, what positions repeat
	shown   baseState       // what is shown of it
	tails   []*kgo.Record   // last changelog record of each store in the open transaction
	logs    []int64         // next changelog offset of each store
}

// input is where a task is in one of its input partitions.
type input struct {
	next      int64 // offset of the next record to process
	committed int64 // offset that the last commit wrote
}

// taskState is shown in `procd status` and in metrics.
type taskState string

const (
	taskRestoring taskState = "restoring"
	taskRunning   taskState = "running"
)

// reconcile brings the worker's tasks in line with what the group said: it
// closes those it lost, opens those it was given, and starts those whose state
// is restored. rewound says that the client went back to the committed offsets,
// so what was just fetched must not be processed.
func (w *worker) reconcile(ctx context.Context, fetches kgo.Fetches) (rewound bool, err error) {
	said, news := w.mail.take()
	if !news {
		return false, nil
	}
	if said.revoked {
		if err := w.abort(causeRevoked); err != nil {
			return false, err
		}
		rewound = true
	}
	if said.nudge {
		w.log.Info("tasks stay unassigned after a rebalance; asking for another")
		w.cl.ForceRebalance()
	}
	for ref, t := range w.tasks {
		if said.owns(ref, t.from) {
			continue
		}
		if !rewound && w.inUse(t, fetches) {
			w.mail.read(func() { w.mail.news = true }) // look again next turn
			continue
		}
		w.cl.PauseFetchPartitions(t.partitions())
		w.drop(ref, true)
	}
	var given []*task
	for ref, s := range said.fetched {
		if said.owns(ref, s) && w.tasks[ref] == nil {
			given = append(given, w.open(ctx, ref, s))
		}
	}
	if len(given) > 0 {
		w.p.aside.Go(func() {
			w.p.openTasks(ctx, given, func() { w.mail.post(func() {}) })
		})
	}
	return rewound, w.startOpened()
}

// inUse reports whether a task has work in the open transaction or in what was
// just fetched. A task that the newest assignment leaves out is still owned
// until the revocation's callback, which waits for this turn to end; its work
// is finished first.
func (w *worker) inUse(t *task, fetches kgo.Fetches) bool {
	if t.touched {
		return true
	}
	fetched := false
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		fetched = fetched || len(p.Records) > 0 && w.byTP[topicPartition{p.Topic, p.Partition}] == t
	})
	return fetched
}

func (t *task) partitions() map[string][]int32 {
	m := make(map[string][]int32, len(t.stage.inputs))
	for _, topic := range t.stage.inputs {
		m[topic] = []int32{t.ref.partition}
	}
	return m
}

// incompleteFor is how long an assignment with tasks left out may stand. The
// member that gives them up rejoins within a second; one killed in between
// comes back with its old assignment and nobody asks for a new one.
const incompleteFor = 3 * time.Second

// drop closes a task. What its transaction changed is dropped; with flush,
// what is committed is written to disk, so that a return reads no changelog.
func (w *worker) drop(ref taskRef, flush bool) {
	t := w.tasks[ref]
	if t == nil {
		return
	}
	delete(w.tasks, ref)
	if w.part != nil {
		delete(w.part.tasks, ref) // if it comes back, it is as any task that is opened
	}
	w.newSession()
	for _, topic := range t.stage.inputs {
		delete(w.byTP, topicPartition{topic, ref.partition})
	}
	w.closeTask(t, flush)
	w.p.metrics.gone(t)
	w.p.taskGone(w.n, ref)
}

func (w *worker) closeTask(t *task, flush bool) {
	warn := func(err error) {
		w.log.Warn("closing the state of a task; it will be restored from its changelog", "task", w.p.taskName(t.ref), "err", err)
	}
	t.cancel()
	if result := t.opening; result != nil {
		// Opening ends by its cancelled context, or has ended already.
		w.p.aside.Go(func() {
			if o := <-result; o.run != nil {
				closeStores(o.run, false, warn)
			}
		})
		return
	}
	if t.run != nil {
		t.run.Abort()
		closeStores(t.run, flush, warn)
	}
}

func closeStores(run *topology.Task, flush bool, warn func(error)) {
	for _, s := range run.Stores() {
		if err := s.Close(flush); err != nil {
			warn(err)
		}
	}
}

// open makes a task that is to be opened.
func (w *worker) open(ctx context.Context, ref taskRef, s *start) *task {
	t := &task{
		ref: ref, stage: &w.p.layout.stages[ref.stage], from: s,
		state: taskRestoring, opening: make(chan opened, 1),
	}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.inputs = make([]input, len(t.stage.inputs))
	for i, topic := range t.stage.inputs {
		t.inputs[i] = input{next: s.next[i], committed: s.inputs[i].current(w.p.generation())}
		w.byTP[topicPartition{topic, ref.partition}] = t
	}
	w.tasks[ref] = t
	w.newSession()
	w.p.taskState(w.n, ref, t.state)
	return t
}

// startOpened runs the tasks whose state is restored.
func (w *worker) startOpened() error {
	for ref, t := range w.tasks {
		if t.opening == nil {
			continue
		}
		select {
		case o := <-t.opening:
			t.opening = nil
			if o.err != nil {
				w.drop(ref, false)
				return w.openFailed(ref, o.err)
			}
			w.start(t, o)
		default:
		}
	}
	return nil
}

// openFailed sorts out why a task did not open. What the broker or the disk may
// mend is tried again with a new client; the rest stops the job here.
func (w *worker) openFailed(ref taskRef, err error) error {
	if w.p.final(err) {
		return fmt.Errorf("task %s: %w", w.p.taskName(ref), err)
	}
	return &rebuildError{causeOpen, fmt.Errorf("task %s: %w", w.p.taskName(ref), err)}
}

func (w *worker) start(t *task, o opened) {
	t.run, t.logs = o.run, o.logs
	t.sweep, t.base = o.sweep, o.base
	t.metrics = w.p.metrics.task(t)
	t.metrics.replays(t, w.p.reached(t.ref))
	t.owned = time.Now()
	t.paused = true
	t.tails = make([]*kgo.Record, len(t.logs))
	t.state = taskRunning
	w.p.taskState(w.n, t.ref, t.state)
	w.showBase(t)
	w.log.Info("task runs", "task", w.p.taskName(t.ref), "offsets", t.offsets())
}

// showBase tells how far a task has come from the savepoint, if that is news.
func (w *worker) showBase(t *task) {
	if s := t.baseState(); s != t.shown {
		t.shown = s
		w.p.taskBase(t.ref, s)
	}
}

// offsets are the next offsets of the task's inputs.
func (t *task) offsets() []kstate.SourceOffset {
	s := make([]kstate.SourceOffset, len(t.inputs))
	for i, in := range t.inputs {
		s[i] = kstate.SourceOffset{Topic: t.stage.inputs[i], Partition: t.ref.partition, Offset: in.next}
	}
	return s
}

// position is what the task's next commit records (P8).
func (t *task) position(generation int, base *positions.Base) positions.Record {
	progress := t.run.Progress()
	return positions.Record{
		Format: positions.Format, Generation: generation, Sources: t.offsets(),
		Frontiers: progress.Frontiers, Watermarks: progress.Watermarks, Base: base,
	}
}

// opened is the result of opening a task.
type opened struct {
	run  *topology.Task
	logs []int64 // next changelog offset of each store
	// sweep and base are what is left to do for the savepoint that the
	// generation began with, and what the last position said of it.
	sweep *sweep
	base  *positions.Base
	err   error
}
