package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// openTask makes a task ready to run: it checks that this process still runs
// the right job (P2), that state and offsets belong together (P8), and restores
// the stores (architecture, section 6). It runs beside the poll loop.
func (p *process) openTask(ctx context.Context, ref taskRef, s *start) opened {
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
		return opened{err: ctx.Err()}
	}
	if err := p.cfg.Lease.Verify(ctx); err != nil {
		return opened{err: err}
	}
	if s.err != nil {
		return opened{err: s.err}
	}
	pos, err := p.readPosition(ctx, ref)
	if err != nil {
		return opened{err: err}
	}
	if err := p.agree(ref, s.inputs, pos); err != nil {
		return opened{err: p.confirm(ctx, ref, err)}
	}
	if err := p.checkRange(ctx, ref, s); err != nil {
		return opened{err: err}
	}
	run, err := p.plan.NewTask(ref.stage, p.taskEnv(ref))
	if err != nil {
		return opened{err: err}
	}
	logs, err := p.restoreStores(ctx, ref, s, run, pos != nil && pos.Base != nil && pos.Base.Detached)
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
func (p *process) progress(ref taskRef, pos *position) (topology.Progress, error) {
	if pos != nil {
		return topology.Progress{Frontiers: pos.Frontiers, Watermarks: pos.Watermarks}, nil
	}
	return p.inherited(ref)
}

// agree checks the commits of all inputs of a task against its position (P8).
func (p *process) agree(ref taskRef, commits []committed, pos *position) error {
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
	pos, err := p.readPosition(ctx, ref)
	if err != nil {
		return err
	}
	after, err := p.askCommits(ctx, ref)
	if err != nil {
		return err
	}
	if slices.Equal(before, after) && p.agree(ref, after, pos) != nil {
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
func (p *process) checkRange(ctx context.Context, ref taskRef, s *start) error {
	stage := &p.layout.stages[ref.stage]
	bounds, err := p.bounds(ctx, stage.inputs, ref.partition)
	if err != nil {
		return err
	}
	for i, b := range bounds {
		if next := s.next[i]; next < b.Start || next > b.End {
			return &RangeError{Topic: stage.inputs[i], Partition: ref.partition, Position: next, Start: b.Start, End: b.End}
		}
	}
	return nil
}

// positionsWindow is how far before the end of the positions topic the search
// for a task's record starts (P8); it doubles until the record is found.
const positionsWindow = 2000

// readPosition returns the newest position record of a task, nil if it has
// none in this generation.
func (p *process) readPosition(ctx context.Context, ref taskRef) (*position, error) {
	topic := p.positions
	bounds, err := p.bounds(ctx, []string{topic}, ref.partition)
	if err != nil {
		return nil, err
	}
	first, end := bounds[0].Start, bounds[0].End
	key := string(positionKey(p.layout.stages[ref.stage].id, ref.partition))
	for window := int64(positionsWindow); ; window *= 2 {
		var found *position
		read := &logRead{topic: topic, partition: ref.partition, from: max(first, end-window), to: end}
		read.apply = func(r *kgo.Record) error {
			if string(r.Key) != key {
				return nil
			}
			pos, err := decodePosition(r.Value)
			found = &pos
			return err
		}
		if err := readLogs(ctx, p.readerOpts(), p.unblock, read); err != nil {
			return nil, err
		}
		if found != nil || read.from == first {
			return found, nil
		}
	}
}

// bounds asks for log start and end of one partition of each topic, read
// uncommitted (S3). Right after topics were made, not every broker knows who
// leads them; that passes.
func (p *process) bounds(ctx context.Context, topics []string, partition int32) ([]kstate.LogBounds, error) {
	for attempt := 1; ; attempt++ {
		bounds, err := p.askBounds(ctx, topics, partition)
		if err == nil || !kerr.IsRetriable(err) || attempt == boundsAttempts {
			return bounds, err
		}
		wait(ctx, 20*time.Millisecond*time.Duration(attempt))
	}
}

// boundsAttempts is tried within four seconds.
const boundsAttempts = 20

func (p *process) askBounds(ctx context.Context, topics []string, partition int32) ([]kstate.LogBounds, error) {
	starts, err := p.adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("procd/engine: listing offsets of internal topics: %w", err)
	}
	ends, err := p.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("procd/engine: listing offsets of internal topics: %w", err)
	}
	bounds := make([]kstate.LogBounds, len(topics))
	for i, topic := range topics {
		s, e, err := lookupBounds(starts, ends, topic, partition)
		if err != nil {
			return nil, err
		}
		bounds[i] = kstate.LogBounds{Start: s, End: e, DeleteRetention: p.deleteRetention, Now: time.Now()}
	}
	return bounds, nil
}

// lookupBounds checks the error of each partition, which kadm reports only
// there.
func lookupBounds(starts, ends kadm.ListedOffsets, topic string, partition int32) (start, end int64, err error) {
	s, ok := starts.Lookup(topic, partition)
	if !ok {
		return 0, 0, fmt.Errorf("procd/engine: topic %s has no partition %d", topic, partition)
	}
	e, ok := ends.Lookup(topic, partition)
	if !ok {
		return 0, 0, fmt.Errorf("procd/engine: topic %s has no partition %d", topic, partition)
	}
	if s.Err != nil {
		return 0, 0, fmt.Errorf("procd/engine: topic %s partition %d: %w", topic, partition, s.Err)
	}
	if e.Err != nil {
		return 0, 0, fmt.Errorf("procd/engine: topic %s partition %d: %w", topic, partition, e.Err)
	}
	return s.Offset, e.Offset, nil
}

// restoreStores brings every store of a task up to the end of its changelog
// and opens it. On an error it closes what it opened.
func (p *process) restoreStores(ctx context.Context, ref taskRef, s *start, run *topology.Task, detached bool) ([]int64, error) {
	stage := &p.layout.stages[ref.stage]
	if len(stage.stores) == 0 {
		return nil, nil
	}
	topics := make([]string, len(stage.stores))
	for i, st := range stage.stores {
		topics[i] = st.changelog
	}
	bounds, err := p.bounds(ctx, topics, ref.partition)
	if err != nil {
		return nil, err
	}
	restores, err := p.prepare(ref, bounds, detached)
	if err != nil {
		return nil, err
	}
	reads := make([]*logRead, len(restores))
	for i, r := range restores {
		restored := p.metrics.restored.WithLabelValues(stage.stores[i].uid)
		reads[i] = &logRead{
			topic: topics[i], partition: ref.partition, from: r.From(), to: bounds[i].End,
			apply: func(rec *kgo.Record) error {
				restored.Inc()
				return r.Apply(rec.Offset, rec.Key, rec.Value)
			},
		}
	}
	finished := p.followRestore(ref, reads)
	err = readLogs(ctx, p.readerOpts(), p.unblock, reads...)
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
func (p *process) followRestore(ref taskRef, reads []*logRead) (finished func()) {
	stage := &p.layout.stages[ref.stage]
	partition := strconv.Itoa(int(ref.partition))
	show := func() {
		total := int64(0)
		for i, r := range reads {
			left := r.remaining()
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
func (p *process) prepare(ref taskRef, bounds []kstate.LogBounds, detached bool) ([]*kstate.Restore, error) {
	stage := &p.layout.stages[ref.stage]
	var restores []*kstate.Restore
	for i := range stage.stores {
		st := &stage.stores[i]
		r, err := p.prepareStore(ref, st, bounds[i], detached)
		if err != nil {
			return nil, abandon(restores, err)
		}
		if why := r.Reason(); why != "" {
			p.log.Info("restoring state", "store", st.uid, "partition", ref.partition, "because", why, "from", r.Origin(), "records", bounds[i].End-r.From())
		}
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
