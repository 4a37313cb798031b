package control

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// View reads the control topic to its end, as of now. The error is [ErrNoJob]
// where there is none.
func (p *Plane) View(ctx context.Context) (*View, error) {
	if err := p.attach(ctx); err != nil {
		return nil, err
	}
	return p.tail.View(), nil
}

// Jobs are the names of the jobs that have a control topic, sorted.
func (p *Plane) Jobs(ctx context.Context) ([]string, error) {
	topics, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	var jobs []string
	for _, t := range topics {
		if job, ok := jobOfControlTopic(*t.Topic); ok {
			jobs = append(jobs, job)
		}
	}
	slices.SortFunc(jobs, strings.Compare)
	return jobs, nil
}

// Judge says whether a job could start from the savepoint that the options
// name, whatever the job is doing now. It asks the brokers for the facts of its
// topics, and touches nothing.
func (p *Plane) Judge(ctx context.Context, plan *topology.Plan, o StartOptions) (savepoint.Verdict, error) {
	judged, err := p.examine(ctx, Define(plan), o.Savepoint.candidate(), o)
	if refused := (*Refused)(nil); errors.As(err, &refused) && refused.Verdict != nil {
		return *refused.Verdict, nil
	}
	return judged.verdict, err
}
