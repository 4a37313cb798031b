package control

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// listAtOnce bounds how many control topics are read at the same time.
const listAtOnce = 8

// Summary is one line of `procd list`.
type Summary struct {
	Job        string   `json:"job"`
	State      RunState `json:"state"`
	Generation int      `json:"generation"`
	Revision   int      `json:"revision"`
	Run        int      `json:"run"`
	Members    int      `json:"members"`
	Lag        int64    `json:"lag"`
	// LastSavepoint is the id of the savepoint that was saved last, "" if there
	// is none, and when that was.
	LastSavepoint   string     `json:"last_savepoint,omitempty"`
	LastSavepointAt *time.Time `json:"last_savepoint_at,omitempty"`
	// Problem is why the job's facts could not be read, "" if they were.
	Problem string `json:"problem,omitempty"`
}

// List finds the jobs of a cluster by their control topics, sorted by name.
// Settings.Job is not used. A job that cannot be read is a Summary with a
// Problem, not an error of all.
func List(ctx context.Context, s Settings) ([]Summary, error) {
	p, err := Open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	jobs, err := p.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	summaries := make([]Summary, len(jobs))
	var group errgroup.Group
	group.SetLimit(listAtOnce)
	for i, job := range jobs {
		group.Go(func() error {
			summaries[i] = summarize(ctx, s, job)
			return nil
		})
	}
	return summaries, group.Wait()
}

func summarize(ctx context.Context, s Settings, job string) Summary {
	s.Job = job
	p, err := Open(ctx, s)
	if err != nil {
		return Summary{Job: job, Problem: err.Error()}
	}
	defer p.Close()
	status, err := p.Status(ctx)
	summary := Summary{
		Job: job, State: status.State.State, Generation: status.Generation, Revision: status.Revision,
		Run: status.State.Run, Members: len(status.Members), Lag: status.Lag, Problem: status.Problem,
	}
	if err != nil {
		summary.Problem = err.Error()
	}
	if p.tail == nil {
		return summary // it could not be looked for
	}
	if last, ok := p.tail.View().LastSaved(); ok {
		summary.LastSavepoint, summary.LastSavepointAt = last.ID, &last.Finished
	}
	return summary
}
