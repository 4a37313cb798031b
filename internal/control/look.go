package control

import (
	"context"
	"slices"
	"strings"
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
