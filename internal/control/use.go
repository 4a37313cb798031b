package control

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Use is who needs a savepoint, so that it must not be removed.
type Use struct {
	Reason string // "generation 3 of alarm began with it"
	Hint   string // what would free it
}

// InUse says whether the job needs a savepoint: the generation that is current
// began with it and is not detached from it (P16), or the job is stopped at it.
// It is pure.
func (v *View) InUse(id string) (u Use, ok bool) {
	c, _ := v.Current()
	g, job := c.Generation, c.Generation.Job
	stopped := c.State.State == Stopped
	switch {
	case c.State.State == Reset:
		return u, false
	case stopped && c.State.Savepoint == id:
		return Use{
			Reason: fmt.Sprintf("%s is stopped at it", job),
			Hint:   fmt.Sprintf("start %s from it or with --resume first, or procd reset %s", job, job),
		}, true
	case g.Savepoint == nil || g.Savepoint.ID != id || v.Detached(g.Generation):
		return u, false
	}
	u = Use{
		Reason: fmt.Sprintf("generation %d of %s began with it, and still reads state from it", g.Generation, job),
		Hint:   fmt.Sprintf("the job is copying what it needs; when procd status %s says that it is detached, procd savepoint-rm %s again", job, id),
	}
	if stopped {
		u.Hint = fmt.Sprintf("procd start --resume lets %s copy what it needs; when procd status %s says that it is detached, procd savepoint-rm %s again", job, job, id)
	}
	return u, true
}

// Release takes a savepoint out of the books of every job of the cluster, before
// it is removed. The error is *[Refused] where one of them needs it: a job may
// begin with the savepoint of another one.
//
// A start that decides at the same moment is not seen. So the savepoint has to
// be hidden first where such a start looks for it, and Release be asked again:
// see savepoint.Location.Remove, and [beginning.stillThere].
func (p *Plane) Release(ctx context.Context, id string) error {
	views, err := p.Views(ctx)
	if err != nil {
		return err
	}
	for _, view := range views {
		if err := view.refuseUsed(id); err != nil {
			return err
		}
	}
	for job, view := range views {
		if _, known := view.Result(id); !known {
			continue
		}
		err := p.inJob(ctx, job, func(own *Plane) error { return own.Forget(ctx, id) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Views reads the control topics of all jobs of the cluster to their ends.
// Settings.Job is not used.
func (p *Plane) Views(ctx context.Context) (map[string]*View, error) {
	jobs, err := p.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	read := make([]*View, len(jobs))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(listAtOnce)
	for i, job := range jobs {
		all.Go(func() error {
			err := p.inJob(ctx, job, func(own *Plane) (err error) {
				read[i], err = own.View(ctx)
				return err
			})
			if errors.Is(err, ErrNoJob) { // deleted meanwhile
				read[i], err = &View{}, nil
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	views := make(map[string]*View, len(jobs))
	for i, job := range jobs {
		views[job] = read[i]
	}
	return views, nil
}

// refuseUsed is the answer to who wants to remove a savepoint that is in use.
func (v *View) refuseUsed(id string) error {
	use, ok := v.InUse(id)
	if !ok {
		return nil
	}
	return &Refused{Reason: fmt.Sprintf("savepoint %s is in use: %s", id, use.Reason), Hint: use.Hint}
}

// inJob connects to another job of the cluster.
func (p *Plane) inJob(ctx context.Context, job string, do func(*Plane) error) error {
	other := p.settings
	other.Job = job
	plane, err := Open(ctx, other)
	if err != nil {
		return err
	}
	defer plane.Close()
	if err := do(plane); err != nil {
		return fmt.Errorf("job %s: %w", job, err)
	}
	return nil
}
