package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// sweep is how far a task's state has come from the savepoint that its
// generation began with (P16). First every key that the generation's changelog
// may not hold is written into it; the position record of the commit in which
// that ends is the detached mark. Then deleted markers become tombstones.
type sweep struct {
	cursors  [][]byte // by store: where the pass goes on
	finished []bool   // by store: the pass is through
	detached bool     // the mark has committed

	next     [][]byte // the same after the open transaction
	finishes []bool
}

// sweepKeys bounds the keys that one commit adds for the sweep of a store, so
// that the records at hand are not held up.
const sweepKeys = 5000

// baseState is how far a task has come from the savepoint that its generation
// began with; "" if it began with none, or the task has no state.
type baseState string

const (
	baseAttached baseState = "attached" // the savepoint is needed
	baseDetached baseState = "detached" // it is not, and deleted markers are left
	baseClean    baseState = "clean"
)

func (t *task) baseState() baseState {
	switch {
	case t.sweep == nil && t.base == nil:
		return ""
	case t.sweep == nil:
		return baseClean
	case t.sweep.detached:
		return baseDetached
	}
	return baseAttached
}

// newSweep returns the sweep of a task that is opened, nil if it has none, or
// none any more.
func (p *process) newSweep(stage *stageLayout, pos *positions.Record) *sweep {
	if p.cfg.Lease.Generation.Savepoint == nil || len(stage.stores) == 0 {
		return nil
	}
	n := len(stage.stores)
	s := &sweep{cursors: make([][]byte, n), finished: make([]bool, n), next: make([][]byte, n), finishes: make([]bool, n)}
	if pos == nil || pos.Base == nil {
		return s
	}
	if pos.Base.Clean {
		return nil
	}
	s.detached = pos.Base.Detached
	for i, st := range stage.stores {
		s.cursors[i] = pos.Base.Cursors[st.uid]
		for _, uid := range pos.Base.Finished {
			s.finished[i] = s.finished[i] || uid == st.uid
		}
	}
	return s
}

// sweep opens a transaction for the tasks that are not through with their
// sweep, also where nothing comes in.
func (w *worker) sweep() error {
	for _, t := range w.tasks {
		if t.state != taskRunning || t.sweep == nil || w.part != nil && w.part.frozen(t) {
			continue
		}
		if !w.txn.open {
			if err := w.begin(); err != nil {
				return err
			}
		}
		t.touched = true
	}
	return nil
}

// produceSweep adds a part of a task's sweep to the transaction, and says where
// it stands after it.
func (w *worker) produceSweep(t *task) (*positions.Base, error) {
	s := t.sweep
	if s == nil {
		return t.base, nil
	}
	copy(s.next, s.cursors)
	copy(s.finishes, s.finished)
	for i, store := range t.run.Stores() {
		if s.finished[i] {
			continue
		}
		pass := store.Sweep
		if s.detached {
			pass = store.SweepMarkers
		}
		var err error
		keys := 0
		s.next[i], s.finishes[i], err = pass(s.cursors[i], sweepKeys, func(key, value []byte) error {
			t.tails[i] = w.produce(t.stage.stores[i].changelog, t.ref.partition, key, value)
			keys++
			return nil
		})
		w.p.metrics.swept.WithLabelValues(t.stage.stores[i].uid).Add(float64(keys))
		if err != nil {
			return nil, err
		}
	}
	return s.position(t.stage), nil
}

// position is what the open transaction's position record says.
func (s *sweep) position(stage *stageLayout) *positions.Base {
	if s.through() {
		return &positions.Base{Detached: true, Clean: s.detached}
	}
	b := &positions.Base{Detached: s.detached, Cursors: map[string][]byte{}}
	for i, st := range stage.stores {
		switch {
		case s.finishes[i]:
			b.Finished = append(b.Finished, st.uid)
		case s.next[i] != nil:
			b.Cursors[st.uid] = s.next[i]
		}
	}
	return b
}

// through reports whether the pass ends with the open transaction.
func (s *sweep) through() bool {
	for _, done := range s.finishes {
		if !done {
			return false
		}
	}
	return true
}

// sweepCommitted moves a task's sweep on once its transaction has committed, and
// reports whether the task is detached with it.
func (t *task) sweepCommitted() (detached bool) {
	s := t.sweep
	switch {
	case s == nil:
	case s.through() && s.detached:
		t.sweep, t.base = nil, &positions.Base{Detached: true, Clean: true}
	case s.through():
		for _, store := range t.run.Stores() {
			store.Detach()
		}
		s.detached = true
		clear(s.cursors)
		clear(s.finished)
		return true
	default:
		copy(s.cursors, s.next)
		copy(s.finished, s.finishes)
	}
	return false
}

// prepareStore looks at the directory of one store, and where that needs it, at
// the savepoint that the generation began with.
func (p *process) prepareStore(ctx context.Context, ref taskRef, st *storeLayout, bounds kstate.LogBounds, detached bool) (*kstate.Restore, error) {
	dir := p.cfg.Seat.StoreDir(p.generation(), st.uid, ref.partition)
	id := kstate.Identity{Store: st.uid, Partition: ref.partition, Generation: p.generation(), TopicID: st.topicID}
	if detached {
		return p.cfg.State.Prepare(dir, id, bounds)
	}
	base, err := p.cfg.Lease.Base()
	if err != nil {
		return nil, err
	}
	if base == nil {
		return p.cfg.State.Prepare(dir, id, bounds)
	}
	part, ok := base.Part(st.uid, ref.partition)
	if !ok {
		return p.cfg.State.Prepare(dir, id, bounds) // a store that is new in this generation
	}
	r, err := p.cfg.State.PrepareFromBase(dir, id, bounds, p.showRows(ref, part.Store(ctx), part.Part.Entries()))
	if errors.Is(err, kstate.ErrBase) {
		return nil, &control.Refused{
			Reason: fmt.Sprintf("store %s, partition %d, is not detached from savepoint %s, which cannot be used: %v", st.uid, ref.partition, p.cfg.Lease.Generation.Savepoint.ID, err),
			Hint:   "bring the savepoint back to where the job was started from",
		}
	}
	return r, err
}

// reached is how far earlier generations had brought a task (P10). Records of
// older versions say it of the sources only, which is what a task that reads
// them had consumed.
func (p *process) reached(ref taskRef) (offsets []kstate.SourceOffset) {
	stage, g := &p.layout.stages[ref.stage], &p.cfg.Lease.Generation
	if r, ok := g.ReachedBy(stage.id, ref.partition); ok {
		return r.SourceOffsets()
	}
	for _, topic := range stage.inputs {
		if offset, ok := g.Frontiers.At(topic, ref.partition); ok {
			offsets = append(offsets, kstate.SourceOffset{Topic: topic, Partition: ref.partition, Offset: offset})
		}
	}
	return offsets
}

// rowsShown is after how many rows of a portable savepoint it is shown how many
// are left.
const rowsShown = 1 << 14

// showRows shows how many rows of a base a task still has to read.
func (p *process) showRows(ref taskRef, base kstate.Base, left int64) kstate.Base {
	read := base.Rows
	if read == nil {
		return base
	}
	base.Rows = func(fn func(key []byte, version int, data []byte) error) error {
		return read(func(key []byte, version int, data []byte) error {
			if left%rowsShown == 0 {
				p.restoreProgress(ref, left)
			}
			left--
			return fn(key, version, data)
		})
	}
	return base
}

// inherited is the progress of a task that opens for the first time in its
// generation (P10): watermarks from the savepoint, and the frontiers of all
// earlier generations.
func (p *process) inherited(ref taskRef) (topology.Progress, error) {
	stage := &p.layout.stages[ref.stage]
	progress := topology.Progress{Frontiers: p.reached(ref)}
	base, err := p.cfg.Lease.Base()
	if err != nil || base == nil {
		return progress, err
	}
	for _, t := range base.Savepoint.Manifest().Tasks {
		if t.Stage == stage.id && t.Partition == ref.partition {
			progress.Watermarks = t.Watermarks
		}
	}
	return progress, nil
}

// detachedEvery is how often a process looks whether its generation still needs
// the savepoint that it began with, beside when a task of its own is detached.
const detachedEvery = 30 * time.Second

// lookAtBase lets watchBase look now.
func (p *process) lookAtBase() {
	select {
	case p.detached <- struct{}{}:
	default:
	}
}

// watchBase waits until every task is detached from the savepoint, says so, and
// deletes what only older generations needed: their topics (P26) and this seat's
// directories of them.
func (p *process) watchBase(ctx context.Context) {
	if p.cfg.Lease.Generation.Savepoint == nil {
		return
	}
	ticker := time.NewTicker(detachedEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.detached:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		detached, err := p.allDetached(ctx)
		if err == nil && detached {
			err = errors.Join(p.cfg.Lease.Detached(ctx), p.cfg.Lease.Prune())
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("looking whether the savepoint is still needed; trying again later", "err", err)
		}
		if err == nil && detached {
			p.log.Info("every task is detached from the savepoint; it can be removed", "savepoint", p.cfg.Lease.Generation.Savepoint.ID)
			return
		}
	}
}

func (p *process) allDetached(ctx context.Context) (bool, error) {
	stateful := slices.DeleteFunc(p.layout.tasks(), func(ref taskRef) bool {
		return len(p.layout.stages[ref.stage].stores) == 0
	})
	found, err := p.readPositions(ctx, stateful...)
	if err != nil {
		return false, err
	}
	for _, ref := range stateful {
		if pos := found[ref]; pos == nil || pos.Base == nil || !pos.Base.Detached {
			return false, nil
		}
	}
	return true, nil
}
