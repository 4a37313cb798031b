package coordinator

import (
	"context"
	"fmt"
	"slices"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// collect reads what the tasks have delivered into the attempt's directory, in
// the order of their reports, and makes sure that together it is a savepoint.
func (r *runner) collect(ctx context.Context, from *savepoint.Attempt, e Publish) ([]savepoint.Delivery, error) {
	all := make([]savepoint.Delivery, 0, len(e.Tasks))
	for _, t := range e.Tasks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at := task{t.Stage, t.Partition}
		d, err := from.Collect(t.Delivery)
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", at, err)
		}
		if of := (task{d.Task.Stage, d.Task.Partition}); of != at {
			return nil, fmt.Errorf("task %s has delivered for task %s", at, of)
		}
		if problem := fits(r.machine.layout, d, e.Ends); problem != "" {
			return nil, fmt.Errorf("task %s %s", at, problem)
		}
		all = append(all, d)
	}
	return all, nil
}

// fits says what keeps what a task delivered from being part of a savepoint:
// stores that are missing or of another point than the task (P14), inputs that
// were not drained to their ends (P12). "" if nothing.
func fits(l *layout, d savepoint.Delivery, ends control.Offsets) string {
	stage := l.stages[d.Task.Stage]
	if len(d.Parts) != len(stage.Stores) {
		return fmt.Sprintf("has %d stores, and copied %d", len(stage.Stores), len(d.Parts))
	}
	for _, uid := range stage.Stores {
		i := slices.IndexFunc(d.Parts, func(p savepoint.Part) bool { return p.UID == uid })
		if i < 0 || d.Parts[i].Partition != d.Task.Partition {
			return fmt.Sprintf("did not copy store %s", uid)
		}
		if !sameOffsets(d.Parts[i], d.Task) {
			return fmt.Sprintf("was cut at another point than its store %s was checkpointed", uid)
		}
	}
	for _, topic := range stage.Reads {
		end, known := ends.At(topic, d.Task.Partition)
		if next, ok := offset(d.Task, topic); !known || !ok || next < end {
			return fmt.Sprintf("was cut at offset %d of %s, before its end %d", next, topic, end)
		}
	}
	return ""
}

// sameOffsets compares the position in a checkpoint with the cut.
func sameOffsets(p savepoint.Part, t savepoint.Task) bool {
	if len(p.Sources) != len(t.Sources) {
		return false
	}
	for _, s := range p.Sources {
		if !slices.Contains(t.Sources, s) {
			return false
		}
	}
	return true
}

func offset(t savepoint.Task, topic string) (next int64, ok bool) {
	for _, s := range t.Sources {
		if s.Topic == topic && s.Partition == t.Partition {
			return s.Offset, true
		}
	}
	return 0, false
}
