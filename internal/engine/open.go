package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/logread"
	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// openTasks makes tasks ready to run, beside the poll loop: what the broker has
// to say is asked once for all of them, then each is opened by itself.
func (p *process) openTasks(ctx context.Context, tasks []*task, done func()) {
	ctx, cancel := untilAllEnd(ctx, tasks)
	defer cancel()
	refs := make([]taskRef, len(tasks))
	for i, t := range tasks {
		refs[i] = t.ref
	}
	found, err := p.survey(ctx, refs...)
	for _, t := range tasks {
		result := t.opening
		p.aside.Go(func() {
			if err != nil {
				result <- opened{err: err}
			} else {
				result <- p.openTask(t.ctx, t.ref, t.from, found)
			}
			done()
		})
	}
}

// untilAllEnd is a context that ends when the last of the tasks is closed.
func untilAllEnd(ctx context.Context, tasks []*task) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	var left atomic.Int64
	left.Store(int64(len(tasks)))
	for _, t := range tasks {
		context.AfterFunc(t.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, cancel
}

// openTask makes a task ready to run: it checks that state and offsets belong
// together (P8), and restores the stores (architecture, section 6). That this
// process still runs the right job was found in the survey (P2).
func (p *process) openTask(ctx context.Context, ref taskRef, s *start, found *survey) opened {
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
		return opened{err: ctx.Err()}
	}
	if s.err != nil {
		return opened{err: s.err}
	}
	pos := found.positions[ref]
	if err := p.agree(ref, s.inputs, pos); err != nil {
		return opened{err: p.confirm(ctx, ref, err)}
	}
	if err := p.checkRange(ref, s, found.bounds); err != nil {
		return opened{err: err}
	}
	run, err := p.plan.NewTask(ref.stage, p.taskEnv(ref))
	if err != nil {
		return opened{err: err}
	}
	logs, err := p.restoreStores(ctx, ref, s, run, found.bounds, pos != nil && pos.Base != nil && pos.Base.Detached)
	if err != nil {
		closeStores(run, false, func(error) {}) // the error to tell is err
		return opened{err: err}
	}
	progress, err := p.progress(ref, pos)
	if err != nil {
		closeStores(run, false, func(error) {}) // the error to tell is err
		return opened{err: err}
	}
	run.SetProgress(progress)
	o := opened{run: run, logs: logs, sweep: p.newSweep(&p.layout.stages[ref.stage], pos)}
	if pos != nil {
		o.base = pos.Base
	}
	return o
}

// progress is what a task continues from, beside offsets and state.
func (p *process) progress(ref taskRef, pos *positions.Record) (topology.Progress, error) {
	if pos != nil {
		return topology.Progress{Frontiers: pos.Frontiers, Watermarks: pos.Watermarks}, nil
	}
	return p.inherited(ref)
}

// agree checks the commits of all inputs of a task against its position (P8).
func (p *process) agree(ref taskRef, commits []committed, pos *positions.Record) error {
	for i, topic := range p.layout.stages[ref.stage].inputs {
		if err := agree(topic, ref.partition, commits[i], p.generation(), pos); err != nil {
			return err
		}
	}
	return nil
}

// confirm looks again before a job is refused because offsets and position do
// not agree. The two were read at two moments: a worker that lost the task
// without knowing compares an old commit with the new owner's position (seen
// with a process that slept). Only if a commit that does not move disagrees with
// the position is something wrong.
func (p *process) confirm(ctx context.Context, ref taskRef, disagreement error) error {
	before, err := p.askCommits(ctx, ref)
	if err != nil {
		return err
	}
	found, err := p.readPositions(ctx, ref)
	if err != nil {
		return err
	}
	after, err := p.askCommits(ctx, ref)
	if err != nil {
		return err
	}
	if slices.Equal(before, after) && p.agree(ref, after, found[ref]) != nil {
		return disagreement
	}
	return fmt.Errorf("%w: %w", errMoved, disagreement)
}

// askCommits asks for the stable commits of a task's inputs.
func (p *process) askCommits(ctx context.Context, ref taskRef) ([]committed, error) {
	inputs := p.layout.stages[ref.stage].inputs
	offsets, err := p.adm.FetchOffsetsForTopics(kadm.RequireStable(ctx), p.group, inputs...)
	if err != nil {
		return nil, fmt.Errorf("procd/engine: fetching committed offsets: %w", err)
	}
	commits := make([]committed, len(inputs))
	for i, topic := range inputs {
		commits[i].offset = -1
		if o, ok := offsets.Lookup(topic, ref.partition); ok {
			if o.Err != nil {
				return nil, fmt.Errorf("procd/engine: fetching the committed offset of %s partition %d: %w", topic, ref.partition, o.Err)
			}
			commits[i] = committed{offset: o.At, meta: o.Metadata}
		}
	}
	return commits, nil
}

// checkRange checks that the task's inputs still hold what comes next (O1): a
// client would resume silently at the log's start.
func (p *process) checkRange(ref taskRef, s *start, bounds map[topicPartition]kstate.LogBounds) error {
	for i, topic := range p.layout.stages[ref.stage].inputs {
		b := bounds[topicPartition{topic, ref.partition}]
		if next := s.next[i]; next < b.Start || next > b.End {
			return &RangeError{Topic: topic, Partition: ref.partition, Position: next, Start: b.Start, End: b.End}
		}
	}
	return nil
}

// restoreStores brings every store of a task up to the end of its changelog
// and opens it. On an error it closes what it opened.
func (p *process) restoreStores(ctx context.Context, ref taskRef, s *start, run *topology.Task, logs map[topicPartition]kstate.LogBounds, detached bool) ([]int64, error) {
	stage := &p.layout.stages[ref.stage]
	if len(stage.stores) == 0 {
		return nil, nil
	}
	bounds := make([]kstate.LogBounds, len(stage.stores))
	for i := range stage.stores {
		bounds[i] = logs[topicPartition{stage.stores[i].changelog, ref.partition}]
	}
	restores, err := p.prepare(ctx, ref, bounds, detached)
	if err != nil {
		return nil, err
	}
	reads := make([]*logread.Part, len(restores))
	for i, r := range restores {
		restored := p.metrics.restored.WithLabelValues(stage.stores[i].uid)
		reads[i] = &logread.Part{
			Topic: stage.stores[i].changelog, Partition: ref.partition, From: r.From(), To: bounds[i].End,
			Apply:   func(rec *kgo.Record) error { return r.Apply(rec.Offset, rec.Key, rec.Value) },
			Applied: func(n int) { restored.Add(float64(n)) },
		}
	}
	finished := p.followRestore(ref, reads)
	err = logread.Read(ctx, p.readerOpts(), p.unblock, reads...)
	finished()
	if err != nil {
		return nil, abandon(restores, err)
	}
	sources := make([]kstate.SourceOffset, len(stage.inputs))
	for i, topic := range stage.inputs {
		sources[i] = kstate.SourceOffset{Topic: topic, Partition: ref.partition, Offset: s.next[i]}
	}
	return p.attach(ref, run, restores, bounds, sources)
}

// followRestore shows how far a restore is, until the returned function is
// called.
func (p *process) followRestore(ref taskRef, reads []*logread.Part) (finished func()) {
	stage := &p.layout.stages[ref.stage]
	partition := strconv.Itoa(int(ref.partition))
	show := func() {
		total := int64(0)
		for i, r := range reads {
			left := r.Remaining()
			total += left
			p.metrics.restoring.WithLabelValues(stage.stores[i].uid, partition).Set(float64(left))
		}
		p.restoreProgress(ref, total)
	}
	show()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(restoreShown)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				show()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		show()
	}
}

// restoreShown is how often the progress of a restore is exported.
const restoreShown = 500 * time.Millisecond

// prepare looks at the directories of a task's stores.
func (p *process) prepare(ctx context.Context, ref taskRef, bounds []kstate.LogBounds, detached bool) ([]*kstate.Restore, error) {
	stage := &p.layout.stages[ref.stage]
	var restores []*kstate.Restore
	for i := range stage.stores {
		st := &stage.stores[i]
		r, err := p.prepareStore(ctx, ref, st, bounds[i], detached)
		if err != nil {
			return nil, abandon(restores, err)
		}
		if why := r.Reason(); why != "" {
			p.log.Info("restoring state", "store", st.uid, "partition", ref.partition, "because", why, "from", r.Origin(), "records", bounds[i].End-r.From())
		}
		p.metrics.restores.WithLabelValues(st.uid, string(r.Origin())).Inc()
		restores = append(restores, r)
	}
	return restores, nil
}

// attach opens the restored stores.
func (p *process) attach(ref taskRef, run *topology.Task, restores []*kstate.Restore, bounds []kstate.LogBounds, sources []kstate.SourceOffset) ([]int64, error) {
	stage := &p.layout.stages[ref.stage]
	logs := make([]int64, len(restores))
	for i, r := range restores {
		logs[i] = bounds[i].End
		db, err := r.Finish(kstate.Position{Changelog: bounds[i].End, Sources: sources})
		if err != nil {
			return nil, abandon(restores[i+1:], err)
		}
		if err := run.Stores()[i].Open(db, stage.stores[i].versions, stage.stores[i].current); err != nil {
			return nil, abandon(restores[i+1:], err)
		}
	}
	return logs, nil
}

func abandon(restores []*kstate.Restore, err error) error {
	for _, r := range restores {
		if e := r.Abandon(); e != nil {
			err = fmt.Errorf("%w (and: %w)", err, e)
		}
	}
	return err
}
