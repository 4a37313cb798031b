package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/positions"
)

// Moved is an offset of the group that [Engine.OffsetsFromState] changed.
type Moved struct {
	Topic     string
	Partition int32
	From, To  int64 // From -1: the group had none
}

// OffsetsFromState makes the positions recorded with the state the committed
// offsets of the group, where they differ: what a person answers to an
// [*OffsetsError] (P8). It runs before [Engine.Run], and while nobody is in the
// group: otherwise offsets are not written (O7), and the error is a
// [*control.Refused].
func (e *Engine) OffsetsFromState(ctx context.Context) ([]Moved, error) {
	p := e.p
	if err := p.emptyGroup(ctx); err != nil {
		return nil, err
	}
	// A dead worker's open transaction holds offsets that it may not commit
	// after these (P5).
	if err := p.unblock(ctx); err != nil {
		return nil, err
	}
	have, err := p.adm.FetchOffsets(kadm.RequireStable(ctx), p.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("procd/engine: asking for the group's offsets: %w", err)
	}
	wanted := kadm.Offsets{}
	refs := p.layout.tasks()
	found, err := p.readPositions(ctx, refs...)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if err := p.recorded(ref, found[ref], wanted); err != nil {
			return nil, err
		}
	}
	return p.move(ctx, have, wanted)
}

// emptyGroup removes this seat's own past from the group and refuses if
// anybody else is in it.
func (p *process) emptyGroup(ctx context.Context) error {
	var own []string
	for _, w := range p.workers {
		own = append(own, p.cfg.Seat.InstanceID(w.n))
	}
	groups, err := p.adm.DescribeGroups(ctx, p.group)
	if err != nil {
		return fmt.Errorf("procd/engine: asking who is in the group: %w", err)
	}
	var past []string
	for _, m := range groups[p.group].Members {
		if m.InstanceID == nil || !slices.Contains(own, *m.InstanceID) {
			return &control.Refused{
				Reason: fmt.Sprintf("%s is running: offsets can be taken from the state only while nobody is in its group", p.cfg.Lease.Job),
				Hint:   fmt.Sprintf("procd stop %s first", p.cfg.Lease.Job),
			}
		}
		past = append(past, *m.InstanceID)
	}
	if len(past) == 0 {
		return nil
	}
	request := kadm.LeaveGroup(p.group).Reason("seat taken by a new process").InstanceIDs(past...)
	left, err := p.adm.LeaveGroup(ctx, request)
	if err == nil {
		err = left.Error()
	}
	if err != nil {
		return fmt.Errorf("procd/engine: taking this seat's past out of the group: %w", err)
	}
	return nil
}

// recorded adds what the group should have committed for the inputs of a task.
// A task without a position record starts where the generation does, and a
// commit without this generation's number says just that.
func (p *process) recorded(ref taskRef, pos *positions.Record, wanted kadm.Offsets) error {
	stage := &p.layout.stages[ref.stage]
	for i, topic := range stage.inputs {
		o := kadm.Offset{Topic: topic, Partition: ref.partition, At: stage.start(i, ref.partition), LeaderEpoch: -1}
		if pos != nil {
			at, ok := pos.Source(topic, ref.partition)
			if !ok {
				return fmt.Errorf("procd/engine: the position record of task %s has no offset of %s", p.taskName(ref), topic)
			}
			o.At, o.Metadata = at, strconv.Itoa(p.generation())
		}
		wanted.Add(o)
	}
	return nil
}

// move commits what differs.
func (p *process) move(ctx context.Context, have kadm.OffsetResponses, wanted kadm.Offsets) ([]Moved, error) {
	var moved []Moved
	change := kadm.Offsets{}
	for _, o := range wanted.Sorted() {
		from, ok := have.Lookup(o.Topic, o.Partition)
		if ok && from.Err != nil {
			return nil, fmt.Errorf("procd/engine: offset of %s partition %d: %w", o.Topic, o.Partition, from.Err)
		}
		if !ok {
			from.At = -1
		}
		if from.At == o.At && from.Metadata == o.Metadata || from.At < 0 && o.Metadata == "" {
			continue
		}
		change.Add(o)
		moved = append(moved, Moved{o.Topic, o.Partition, from.At, o.At})
	}
	if len(moved) == 0 {
		return nil, nil
	}
	committed, err := p.adm.CommitOffsets(ctx, p.group, change)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("procd/engine: committing the positions recorded with the state: %w", err)
	}
	return moved, nil
}
