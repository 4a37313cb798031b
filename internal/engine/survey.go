package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
)

// survey is what the broker says about tasks that are opened: asked once for
// all tasks that a worker is given together, since two hundred of them would
// ask a thousand times.
type survey struct {
	bounds    map[topicPartition]kstate.LogBounds // of their inputs and changelogs
	positions map[taskRef]*positions.Record       // nil: the task has none in this generation
}

// survey checks that this process still runs the right job (P2), and asks where
// the logs of the tasks begin and end, and for their positions. Right after
// topics were made, not every broker knows who leads them; that passes.
func (p *process) survey(ctx context.Context, refs ...taskRef) (s *survey, err error) {
	for attempt := 1; ; attempt++ {
		s, err = p.askSurvey(ctx, refs)
		if err == nil || !kerr.IsRetriable(err) || attempt == surveyAttempts {
			return s, err
		}
		wait(ctx, 20*time.Millisecond*time.Duration(attempt))
	}
}

// surveyAttempts is tried within four seconds.
const surveyAttempts = 20

func (p *process) askSurvey(ctx context.Context, refs []taskRef) (*survey, error) {
	s := &survey{}
	both, gctx := errgroup.WithContext(ctx)
	both.Go(func() error { return p.cfg.Lease.Verify(gctx) })
	both.Go(func() (err error) {
		s.bounds, err = p.bounds(gctx, p.logsOf(refs))
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	var err error
	s.positions, err = p.findPositions(ctx, refs, s.bounds)
	return s, err
}

// logsOf are the partitions that opening tasks is about: their inputs, the
// changelogs of their stores and where their positions are.
func (p *process) logsOf(refs []taskRef) []topicPartition {
	var logs []topicPartition
	for _, ref := range refs {
		stage := &p.layout.stages[ref.stage]
		for _, topic := range stage.inputs {
			logs = append(logs, topicPartition{topic, ref.partition})
		}
		for i := range stage.stores {
			logs = append(logs, topicPartition{stage.stores[i].changelog, ref.partition})
		}
		logs = append(logs, topicPartition{p.positions, ref.partition})
	}
	return logs
}

// readPositions finds the newest position records of tasks, as of now.
func (p *process) readPositions(ctx context.Context, refs ...taskRef) (map[taskRef]*positions.Record, error) {
	var logs []topicPartition
	for _, ref := range refs {
		logs = append(logs, topicPartition{p.positions, ref.partition})
	}
	bounds, err := p.bounds(ctx, logs)
	if err != nil {
		return nil, err
	}
	return p.findPositions(ctx, refs, bounds)
}

func (p *process) findPositions(ctx context.Context, refs []taskRef, bounds map[topicPartition]kstate.LogBounds) (map[taskRef]*positions.Record, error) {
	logs := map[int32]positions.Bounds{}
	names := make([]positions.Task, len(refs))
	for i, ref := range refs {
		b := bounds[topicPartition{p.positions, ref.partition}]
		logs[ref.partition] = positions.Bounds{Start: b.Start, End: b.End}
		names[i] = positions.Task{Stage: p.layout.stages[ref.stage].id, Partition: ref.partition}
	}
	topic := positions.Topic{Name: p.positions, Options: p.readerOpts(), Stalled: p.unblock}
	records, err := topic.Read(ctx, logs, names)
	if err != nil {
		return nil, err
	}
	found := make(map[taskRef]*positions.Record, len(refs))
	for i, ref := range refs {
		if r, ok := records[names[i]]; ok {
			found[ref] = &r
		}
	}
	return found, nil
}

// bounds asks for start and end of logs, read uncommitted (S3).
func (p *process) bounds(ctx context.Context, logs []topicPartition) (map[topicPartition]kstate.LogBounds, error) {
	var topics []string
	known := map[string]bool{}
	for _, l := range logs {
		if !known[l.topic] {
			known[l.topic] = true
			topics = append(topics, l.topic)
		}
	}
	var starts, ends kadm.ListedOffsets
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) { starts, err = p.adm.ListStartOffsets(ctx, topics...); return err })
	both.Go(func() (err error) { ends, err = p.adm.ListEndOffsets(ctx, topics...); return err })
	if err := both.Wait(); err != nil {
		return nil, fmt.Errorf("procd/engine: listing offsets: %w", err)
	}
	now := time.Now()
	bounds := make(map[topicPartition]kstate.LogBounds, len(logs))
	for _, l := range logs {
		start, err := listed(starts, l)
		if err != nil {
			return nil, err
		}
		end, err := listed(ends, l)
		if err != nil {
			return nil, err
		}
		bounds[l] = kstate.LogBounds{Start: start, End: end, DeleteRetention: p.deleteRetention, Now: now}
	}
	return bounds, nil
}

// listed checks the error of a partition, which kadm reports only there.
func listed(offsets kadm.ListedOffsets, l topicPartition) (int64, error) {
	o, ok := offsets.Lookup(l.topic, l.partition)
	if !ok {
		return 0, fmt.Errorf("procd/engine: topic %s has no partition %d", l.topic, l.partition)
	}
	if o.Err != nil {
		return 0, fmt.Errorf("procd/engine: topic %s partition %d: %w", l.topic, l.partition, o.Err)
	}
	return o.Offset, nil
}
