package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
	"github.com/procd/procd/savepoint"
)

// part is a worker's part in one attempt at a savepoint. The worker obeys the
// coordinator's current command (see [coordinator.Command]) at the end of each
// turn of its loop, so a cut lies between two transactions.
type part struct {
	w       *worker
	cmd     coordinator.Command
	ctx     context.Context // ends with the attempt
	cancel  context.CancelFunc
	attempt *savepoint.Attempt // joined; nil before
	joining bool               // the attempt's directory is being opened, or was
	dir     string             // of this worker's checkpoints
	tasks   map[taskRef]*taskPart
	news    chan func() // results of copying, applied by the worker
	err     error       // told to the coordinator, which ends the attempt
	pause   time.Duration
	told    time.Time // when it was last reported
	changed bool      // something to report
}

// taskPart is one task's part in an attempt.
type taskPart struct {
	step    control.TaskStep
	flushes bool      // what is committed is being written, before the copy
	busy    bool      // being copied
	stood   time.Time // since when it stands still; zero: it does not
	// delivery is where the coordinator finds what the task has for the manifest.
	delivery string
}

// attend does what the current command asks for, at the end of a turn.
func (w *worker) attend() error {
	p := w.part
	if p == nil {
		return nil
	}
	p.take()
	if p.err == nil {
		if err := p.obey(); err != nil {
			return err
		}
	}
	p.report()
	return nil
}

// follow leaves the attempt that is over and joins the one that is current. It
// runs before a turn's records, so that inputs that have to stand still are
// paused before the next poll.
func (w *worker) follow() {
	cmd, ok := coordinator.Current(w.p.cfg.Lease.Tail().View())
	if p := w.part; p != nil && (!ok || cmd.Request != p.cmd.Request || cmd.Attempt != p.cmd.Attempt) {
		p.leave()
		w.part = nil
	}
	if !ok {
		return
	}
	if w.part == nil {
		w.part = w.newPart(cmd)
	}
	w.part.cmd = cmd
}

func (w *worker) newPart(cmd coordinator.Command) *part {
	ctx, cancel := context.WithCancel(w.p.ctx)
	return &part{
		w: w, cmd: cmd, ctx: ctx, cancel: cancel,
		dir:     filepath.Join(w.p.checkpoints(), fmt.Sprintf("%s.%d.%d", cmd.Request, cmd.Attempt, w.n)),
		tasks:   map[taskRef]*taskPart{},
		news:    make(chan func(), 1024),
		changed: true,
	}
}

// leave drops what was done for the attempt. Copying ends by its context.
func (p *part) leave() {
	p.cancel()
	p.removeCheckpoints()
}

func (p *part) removeCheckpoints() {
	if err := os.RemoveAll(p.dir); err != nil {
		p.w.log.Warn("removing checkpoints; they only take disk space", "dir", p.dir, "err", err)
	}
}

// take applies what copying has to tell.
func (p *part) take() {
	for {
		select {
		case apply := <-p.news:
			apply()
			p.changed = true
		default:
			return
		}
	}
}

// post hands a result of copying to the worker.
func (p *part) post(apply func()) {
	select {
	case p.news <- apply:
		p.w.mail.post(func() {})
	case <-p.ctx.Done():
	}
}

// fail tells the coordinator that this worker cannot go on with the attempt.
func (p *part) fail(err error) {
	if p.err == nil && p.ctx.Err() == nil {
		p.err, p.changed = err, true
	}
}

// task returns a task's part.
func (p *part) task(t *task) *taskPart {
	tp := p.tasks[t.ref]
	if tp == nil {
		tp = &taskPart{step: control.TaskOpening}
		p.tasks[t.ref] = tp
		p.changed = true
	}
	if tp.step == control.TaskOpening && t.state == taskRunning {
		tp.step, p.changed = control.TaskRunning, true
	}
	return tp
}

// checkpointsFor is how long a worker makes checkpoints in one turn of its loop,
// where tasks do not stand still together anyway: no task of the worker commits
// meanwhile, and a checkpoint may take a quarter of a second under load.
const checkpointsFor = 50 * time.Millisecond

// obey moves each task as far as the command asks.
func (p *part) obey() error {
	began := time.Now()
	if p.cmd.Phase == control.PhasePrepare {
		p.join() // without tasks too: it may get some
	}
	for _, t := range p.w.tasks {
		if !p.cmd.Hold && time.Since(began) > checkpointsFor {
			break // the others in the next turn
		}
		tp := p.task(t)
		switch {
		case t.state != taskRunning:
		case p.cmd.Phase == control.PhasePrepare:
			if err := p.prepare(t, tp); err != nil {
				return err
			}
		case p.cmd.Cuts(t.stage.id) && !tp.step.Reached(control.TaskCut):
			if err := p.cut(t, tp); err != nil {
				return err
			}
		}
		if !tp.stood.IsZero() && !p.frozen(t) {
			p.pause = max(p.pause, time.Since(tp.stood))
			tp.stood, p.changed = time.Time{}, true
		}
	}
	return nil
}

// join opens the attempt's directory, which must hold the coordinator's token
// (P13). It does so beside the loop, since a shared file system may hang, and
// reports whether it is open.
func (p *part) join() bool {
	if p.attempt != nil {
		return true
	}
	if p.w.p.cfg.Location == nil {
		p.fail(errors.New("this process has no savepoint directory"))
		return false
	}
	if !p.joining {
		p.joining = true
		location, cmd := p.w.p.cfg.Location, p.cmd
		p.w.p.aside.Go(func() {
			a, err := location.Join(cmd.Request, cmd.Attempt, cmd.Token)
			p.post(func() {
				if err != nil {
					p.fail(err)
				}
				p.attempt = a
			})
		})
	}
	return false
}

// prepare copies what a task has now, while it goes on: at the cut only what is
// new since then is left.
func (p *part) prepare(t *task, tp *taskPart) error {
	if tp.busy || tp.step.Reached(control.TaskPrepared) || !p.join() {
		return nil
	}
	if p.w.txn.open {
		if err := p.w.commit(); err != nil || p.w.tasks[t.ref] != t {
			return err
		}
	}
	if !p.flushed(t, tp) {
		return nil
	}
	checkpoints, err := p.checkpoint(t, "before")
	if err != nil {
		p.fail(err)
		return nil
	}
	p.copy(t, tp, func(ctx context.Context) error {
		for _, c := range checkpoints {
			if err := p.attempt.PreCopy(ctx, c.Checkpoint); err != nil {
				return err
			}
		}
		return nil
	}, checkpoints, control.TaskPrepared)
	return nil
}

// flushed writes what a task has committed in the background, and reports
// whether that is done.
func (p *part) flushed(t *task, tp *taskPart) bool {
	done := true
	for _, s := range t.run.Stores() {
		if !tp.flushes {
			s.StartFlush()
		}
		done = s.Flushed() && done
	}
	tp.flushes = true
	return done
}

// cut checkpoints a task between two transactions, once everything that belongs
// to the savepoint has come through it (P12).
func (p *part) cut(t *task, tp *taskPart) error {
	if tp.stood.IsZero() {
		tp.stood = time.Now()
	}
	if !p.drained(t) || tp.busy || !p.join() {
		return nil
	}
	if t.touched {
		if err := p.w.commit(); err != nil || t.touched || p.w.tasks[t.ref] != t {
			return err
		}
	}
	if !p.drained(t) {
		return nil // the commit was refused, and the task goes back
	}
	at := t.position(p.w.p.generation(), nil)
	stands := savepoint.Task{
		Stage: t.stage.id, Partition: t.ref.partition,
		Sources: at.Sources, Frontiers: at.Frontiers, Watermarks: at.Watermarks,
	}
	checkpoints, err := p.checkpoint(t, "cut")
	if err != nil {
		p.fail(err)
		return nil
	}
	tp.step, p.changed = control.TaskCut, true
	parts := make([]savepoint.Part, len(checkpoints))
	p.copy(t, tp, func(ctx context.Context) error {
		for i, c := range checkpoints {
			var err error
			if parts[i], err = p.attempt.CopyPart(ctx, c.Checkpoint); err != nil {
				return err
			}
		}
		var err error
		tp.delivery, err = p.attempt.Deliver(savepoint.Delivery{Task: stands, Parts: parts})
		return err
	}, checkpoints, control.TaskCopied)
	return nil
}

// drained reports whether a task has consumed its repartition inputs to their
// ends. Sources have none: nothing more of them is processed.
func (p *part) drained(t *task) bool {
	for i, in := range t.inputs {
		if end, ok := p.cmd.End(t.stage.inputs[i], t.ref.partition); ok && in.next < end {
			return false
		}
	}
	return true
}

// frozen reports whether a task has to stand still now. What goes on in a hold
// are the tasks behind repartition topics that have not been cut, for they have
// to come to their ends; but not one that was opened after the pre-copy, in a
// rebalance: a stop has to stand at its savepoint also where a worker died in
// between (P11).
func (p *part) frozen(t *task) bool {
	if !p.cmd.Hold {
		return false
	}
	tp := p.tasks[t.ref]
	return t.stage.source || tp == nil || !tp.step.Reached(control.TaskPrepared) || tp.step.Reached(control.TaskCut)
}

// checkpointed is a checkpoint and the directory it is open in.
type checkpointed struct {
	savepoint.Checkpoint
	dir *savepoint.Dir
}

// checkpoint checkpoints every store of a task (S7). Milliseconds, as long as
// little is unwritten.
func (p *part) checkpoint(t *task, which string) (made []checkpointed, err error) {
	for i, s := range t.run.Stores() {
		dir := filepath.Join(p.dir, which, t.stage.stores[i].uid, fmt.Sprint(t.ref.partition))
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return made, fmt.Errorf("procd/engine: checkpoint: %w", err)
		}
		if _, err := s.Checkpoint(dir); err != nil {
			return made, err
		}
		open, err := savepoint.OpenDir(dir)
		if err != nil {
			return made, err
		}
		made = append(made, checkpointed{savepoint.Checkpoint{
			UID: t.stage.stores[i].uid, Partition: t.ref.partition, Instance: s.Instance(), Files: open,
		}, open})
	}
	return made, nil
}

// copy runs do beside the loop; when it is done the task has reached step.
func (p *part) copy(t *task, tp *taskPart, do func(context.Context) error, from []checkpointed, step control.TaskStep) {
	tp.busy = true
	p.w.p.aside.Go(func() {
		err := do(p.ctx)
		for _, c := range from {
			err = errors.Join(err, c.dir.Close())
		}
		p.post(func() {
			tp.busy = false
			if err != nil {
				p.fail(fmt.Errorf("task %s: %w", p.w.p.taskName(t.ref), err))
				return
			}
			tp.step = step
		})
	})
}

// reportEvery is how often progress is told while nothing else changes.
const reportEvery = time.Second

// report tells the coordinator where this worker is.
func (p *part) report() {
	copying := false
	for _, tp := range p.tasks {
		copying = copying || tp.busy
	}
	if !p.changed && !(copying && time.Since(p.told) > reportEvery) {
		return
	}
	p.changed, p.told = false, time.Now()
	r := control.Report{
		Request: p.cmd.Request, Attempt: p.cmd.Attempt, Worker: p.w.instance, Session: p.w.session,
		PauseMillis: p.pause.Milliseconds(), At: p.told,
	}
	if p.attempt != nil {
		r.Joined = true
		r.Bytes = p.attempt.BytesCopied()
	}
	if p.err != nil {
		r.Err = p.err.Error()
	}
	for _, t := range p.w.tasks {
		tp := p.task(t)
		tr := control.TaskReport{Stage: t.stage.id, Partition: t.ref.partition, Step: tp.step}
		if tp.step == control.TaskCopied {
			tr.Delivery = tp.delivery
		}
		r.Tasks = append(r.Tasks, tr)
	}
	p.w.reports.put(r)
}

func (w *worker) warnReport(err error) {
	w.log.Warn("telling the coordinator of a savepoint", "err", err)
}

// newSession marks that the worker joined, or that its tasks changed: an
// attempt in the middle of which that happens is over, and one that musters has
// to hear of a task that is gone.
func (w *worker) newSession() {
	w.session = rand.Text()
	if w.part != nil {
		w.part.changed = true
	}
}

// reporter sends a worker's reports in order; only the latest counts.
type reporter struct {
	latest chan control.Report
}

func newReporter() *reporter { return &reporter{latest: make(chan control.Report, 1)} }

// put replaces a report that was not sent yet. Only the worker calls it.
func (r *reporter) put(report control.Report) {
	select {
	case <-r.latest:
	default:
	}
	r.latest <- report
}

// run sends reports until ctx ends. A report that does not arrive is missed by
// the coordinator, whose attempt then ends by its time.
func (r *reporter) run(ctx context.Context, send func(context.Context, control.Report) error, warn func(error)) {
	for {
		select {
		case report := <-r.latest:
			if err := send(ctx, report); err != nil && ctx.Err() == nil {
				warn(err)
			}
		case <-ctx.Done():
			return
		}
	}
}
