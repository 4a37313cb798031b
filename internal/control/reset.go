package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/procd/procd/internal/seat"
)

// ResetOptions say what a reset takes with it.
type ResetOptions struct {
	// DataDir is where this machine's local state is; "" leaves it alone.
	// State on other machines is never used again, and goes when its seat is
	// taken next.
	DataDir string
	// DryRun only says what would go.
	DryRun bool
}

// ResetResult is what a reset deleted, or would.
type ResetResult struct {
	Generation int      `json:"generation"` // the one that ends
	Topics     []string `json:"topics"`
	Group      string   `json:"group"`
	DataDir    string   `json:"data_dir,omitempty"`
}

// Reset ends the current generation: internal topics, the group's offsets and
// local state go, the control topic stays, and the next start begins
// generation g+1 from the job's start offsets. The job must not run; a reset
// that was interrupted is completed by doing it again.
//
// RESET is written before anything is deleted, and everything the job began is
// fenced before that: a process that slept through both can neither commit
// (P5) nor join again (P2).
func (p *Plane) Reset(ctx context.Context, o ResetOptions) (ResetResult, error) {
	if err := p.attach(ctx); err != nil {
		return ResetResult{}, err
	}
	if _, ok := p.tail.View().Current(); !ok {
		return ResetResult{}, fmt.Errorf("%w: %s was never started", ErrNoJob, p.settings.Job)
	}
	if o.DryRun {
		result, _, err := p.planReset(ctx, o)
		return result, err
	}
	var result ResetResult
	err := p.decide(ctx, func(ctx context.Context) (err error) {
		result, err = p.tryReset(ctx, o)
		return err
	}, func() bool { return false })
	return result, err
}

// planReset checks that nobody runs the job, and lists what would go.
func (p *Plane) planReset(ctx context.Context, o ResetOptions) (ResetResult, []TopicRef, error) {
	c, _ := p.tail.View().Current()
	result := ResetResult{Generation: c.Generation.Generation, Group: Group(p.settings.Job), DataDir: o.DataDir}
	group, err := p.members(ctx)
	if err != nil {
		return result, nil, err
	}
	if len(group.all) > 0 {
		_, names := group.split("")
		return result, nil, &Refused{
			Reason: fmt.Sprintf("%s is running: its group has %s", p.settings.Job, abbreviate(names)),
			Hint:   "procd stop " + p.settings.Job + " first",
		}
	}
	topics, err := p.generationTopics(ctx)
	for _, t := range topics {
		result.Topics = append(result.Topics, t.Name)
	}
	return result, topics, err
}

func (p *Plane) tryReset(ctx context.Context, o ResetOptions) (ResetResult, error) {
	d, err := p.becomeDecider(ctx)
	if err != nil {
		return ResetResult{}, err
	}
	defer d.close()
	result, topics, err := p.planReset(ctx, o)
	if err != nil {
		return result, err
	}
	if err := p.fence(ctx); err != nil {
		return result, err
	}
	if err := p.deleteOffsets(ctx); err != nil {
		return result, err
	}
	// The commit also tells that nobody became decider since the topics were
	// listed, so none of them belongs to a newer generation.
	if err := d.commit(ctx, p.stateEntry(Reset, p.tail.View().State())); err != nil {
		return result, err
	}
	if err := p.remove(ctx, topics); err != nil {
		return result, err
	}
	if o.DataDir == "" {
		return result, nil
	}
	return result, seat.Wipe(o.DataDir, p.settings.Job)
}

// deleteOffsets deletes the group with its offsets.
func (p *Plane) deleteOffsets(ctx context.Context) error {
	name := Group(p.settings.Job)
	_, err := p.adm.DeleteGroup(ctx, name)
	switch {
	case err == nil, errors.Is(err, kerr.GroupIDNotFound):
		return nil
	case errors.Is(err, kerr.NonEmptyGroup):
		return &Refused{
			Reason: "a process of " + p.settings.Job + " joined the group meanwhile",
			Hint:   "procd stop " + p.settings.Job + " first",
		}
	}
	return fmt.Errorf("procd/control: delete group %s: %w", name, err)
}
