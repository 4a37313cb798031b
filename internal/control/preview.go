package control

import (
	"context"
	"errors"

	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// Preview is what a start would do.
type Preview struct {
	Action     Action `json:"action"`
	Generation int    `json:"generation"`
	Revision   int    `json:"revision"`
	Run        int    `json:"run"`
	Reason     string `json:"reason,omitempty"` // see [Verdict]
	// Verdict is that of the savepoint, where a generation would begin with it.
	Verdict *savepoint.Verdict `json:"verdict,omitempty"`
	// Replay is the number of records that would be processed again (P6), as far
	// as the offsets that are committed now say.
	Replay int64 `json:"replay"`
}

// Preview says what [Plane.Begin] with these options would do, and does nothing:
// no topic is created, nobody is fenced or waited for. Its errors are those of
// Begin.
func (p *Plane) Preview(ctx context.Context, plan *topology.Plan, o StartOptions) (Preview, error) {
	return p.preview(ctx, Define(plan), o)
}

func (p *Plane) preview(ctx context.Context, d Definition, o StartOptions) (Preview, error) {
	view := &View{}
	switch err := p.attach(ctx); {
	case err == nil:
		view = p.tail.View()
	case !errors.Is(err, ErrNoJob):
		return Preview{}, err
	}
	group, err := p.members(ctx)
	if err != nil {
		return Preview{}, err
	}
	_, live := group.split("")
	from := o.Savepoint.candidate()
	facts := Facts{Definition: d, Resume: o.Resume, From: from, Again: o.Again, Run: view.State().Run, Live: live, JobFile: o.JobFile}
	verdict := Decide(view, facts)
	if verdict.Action == Remove {
		facts.Live = nil
		verdict = Decide(view, facts)
	}
	result := Preview{
		Action: verdict.Action, Generation: verdict.Generation, Revision: verdict.Revision, Run: verdict.Run, Reason: verdict.Reason,
	}
	switch verdict.Action {
	case Refuse:
		return result, verdict.Refusal
	case Create:
		err = p.previewCreate(ctx, view, d, verdict.From, o, &result)
	}
	return result, err
}

// previewCreate adds what only the brokers know.
func (p *Plane) previewCreate(ctx context.Context, view *View, d Definition, from *Candidate, o StartOptions, result *Preview) error {
	ex, err := p.examine(ctx, d, from, o)
	if err != nil || from == nil {
		return err
	}
	result.Verdict = &ex.verdict
	current, _ := view.Current()
	committed, err := p.committed(ctx, current.Generation)
	if err != nil {
		return err
	}
	g := Generation{Start: ex.start}
	for _, s := range d.Sources {
		g.Sources = append(g.Sources, TopicRef{Name: s.Topic, ID: ex.found[s.Topic].ID, Partitions: ex.found[s.Topic].Partitions})
	}
	g.Frontiers = inherit(g.Sources, from.Manifest, current.Generation, committed)
	result.Replay = g.Replay()
	return nil
}
