package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// begin discards what earlier attempts left, looks for the manifest and makes
// the attempt's directory, in this order (P14).
func (r *runner) begin(e Begin) Begun {
	o := Begun{key: e.key}
	if !e.Make {
		through := e.attempt
		if through == 0 { // the run that was asked is over: nobody may be at it
			through = math.MaxInt
		}
		if o.Err = r.Location.Discard(e.request, through); o.Err == nil {
			o.Complete, o.Err = r.complete(e.request)
		}
		return o
	}
	o.Token = r.tokenPrefix() + randomText()
	made, err := r.Location.Begin(e.request, e.attempt, o.Token)
	switch {
	case errors.Is(err, savepoint.ErrExists):
		if o.Complete, o.Err = r.complete(e.request); o.Complete == nil && o.Err == nil {
			o.Err = err // something of that name that is no savepoint
		}
	case err != nil:
		o.Err = err
	default:
		r.mu.Lock()
		r.attempts[e.key] = made
		r.mu.Unlock()
	}
	return o
}

// tokenPrefix is what the tokens of the job's attempts begin with: jobs may share
// a location.
func (r *runner) tokenPrefix() string { return r.Lease.Job + "." }

// tidy removes what attempts of this job left at the location that nobody is at
// any more: of coordinators that died, or slept until the result was there. It
// looks at the directory first, and then reads the control topic to its end. An
// attempt is claimed before its directory is made, so of whatever was found the
// view knows whether it is under way, however old it was before.
func (r *runner) tidy(ctx context.Context) error {
	left, err := r.Location.Unfinished()
	if err != nil || len(left) == 0 {
		return err
	}
	if err := r.Lease.Tail().ReadToEnd(ctx); err != nil {
		return err
	}
	view := r.Lease.Tail().View()
	var errs []error
	for _, u := range left {
		var err error
		switch {
		case u.Attempt == 0:
			err = r.finishRemoval(ctx, u)
		case r.isOver(view, u):
			if err = r.Location.Drop(u); err == nil {
				r.Logger.Info("removed what an attempt at a savepoint had left", "savepoint", u.ID, "attempt", u.Attempt)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// finishRemoval goes on where a remover of one of this job's savepoints died. One
// that is still at it does the same meanwhile, with the same outcome.
func (r *runner) finishRemoval(ctx context.Context, u savepoint.Unfinished) error {
	if u.Job != "" && u.Job != r.Lease.Job {
		return nil
	}
	err := r.Location.FinishRemoval(u.ID, func(*savepoint.Manifest) error { return r.Plane.Release(ctx, u.ID) })
	var used *control.Refused
	switch {
	case err == nil:
		r.Logger.Info("removed what a removal had left", "savepoint", u.ID)
	case errors.As(err, &used):
		r.Logger.Warn("a savepoint whose removal was cut short is there again", "savepoint", u.ID, "because", used.Reason)
	case !errors.Is(err, savepoint.ErrNotFound):
		return err
	}
	return nil
}

// isOver says that an unfinished attempt is this job's, and cannot complete: its
// request has its result, or is not known any more.
func (r *runner) isOver(v *control.View, u savepoint.Unfinished) bool {
	if _, answered := v.Result(u.ID); answered {
		return true
	}
	pending := slices.ContainsFunc(v.Requests(), func(q control.Request) bool { return q.ID == u.ID })
	return !pending && strings.HasPrefix(u.Token, r.tokenPrefix())
}

// complete describes the savepoint if it has its manifest; nil if it has not.
func (r *runner) complete(id string) (*Complete, error) {
	s, err := r.Location.Open(id)
	if errors.Is(err, savepoint.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := describe(s.Manifest(), s.SHA256())
	return &c, nil
}

func describe(m *savepoint.Manifest, sha256 string) Complete {
	c := Complete{SHA256: sha256, Bytes: m.Bytes(), AtMost: !m.RowsExact()}
	for i := range m.Stores {
		c.Rows += m.Stores[i].Entries()
	}
	return c
}

// measure reads the high watermarks of all partitions: the end that
// read_committed readers see may not have reached the last transaction (P12).
func (r *runner) measure(ctx context.Context, topics []string) (control.Offsets, error) {
	listed, err := r.adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("procd/coordinator: ends of the repartition topics: %w", err)
	}
	ends := make(control.Offsets, len(topics))
	for _, topic := range topics {
		for p := range int32(len(listed[topic])) {
			end, ok := listed.Lookup(topic, p)
			if !ok {
				return nil, fmt.Errorf("procd/coordinator: the broker did not say the end of %s/%d", topic, p)
			}
			ends[topic] = append(ends[topic], end.Offset)
		}
	}
	return ends, nil
}

func (r *runner) publish(ctx context.Context, e Publish) (Complete, error) {
	r.mu.Lock()
	made := r.attempts[e.key]
	delete(r.attempts, e.key)
	r.mu.Unlock()
	tasks, err := r.collect(ctx, made, e)
	if err != nil {
		return Complete{}, err
	}
	m, err := r.manifest(e, tasks)
	if err != nil {
		return Complete{}, err
	}
	sha256, err := made.Complete(ctx, m, r.Plan.Definition)
	if err != nil {
		return Complete{}, err
	}
	return describe(m, sha256), nil
}

// manifest puts together what the tasks have delivered.
func (r *runner) manifest(e Publish, tasks []savepoint.Delivery) (*savepoint.Manifest, error) {
	g := &r.Lease.Generation
	m := &savepoint.Manifest{
		ID: e.request, Job: g.Job, Generation: g.Generation, Revision: r.Lease.Revision, Run: e.Request.Run,
		CreatedAt: r.Now().UTC(), By: e.Request.By, Form: savepoint.Native, JobHash: r.Lease.JobHash,
	}
	for _, t := range g.Sources {
		m.Sources = append(m.Sources, savepoint.Topic{Name: t.Name, ID: t.ID.String(), Partitions: t.Partitions})
	}
	parts := make(map[string][]savepoint.Part)
	for _, t := range tasks {
		m.Tasks = append(m.Tasks, t.Task)
		for _, p := range t.Parts {
			parts[p.UID] = append(parts[p.UID], p)
		}
	}
	for _, s := range r.Plan.Stages {
		m.Stages = append(m.Stages, savepoint.Stage{
			ID: s.ID, Partitions: partitions(e.Tasks, s.ID), Partitioner: partitioner(r.Plan, s),
		})
	}
	for _, spec := range r.Plan.Stores {
		versions, current, ok := r.Lease.Schemas(spec.UID)
		if !ok {
			return nil, fmt.Errorf("procd/coordinator: generation %d has no schema of %s", g.Generation, spec.UID)
		}
		m.Stores = append(m.Stores, savepoint.NewStore(spec, versions, current, parts[spec.UID]))
	}
	return m, nil
}

func partitions(tasks []control.TaskReport, stage string) (n int32) {
	for _, t := range tasks {
		if t.Stage == stage {
			n++
		}
	}
	return n
}

// partitioner is what put the keys of a stage's inputs on partitions (P24).
func partitioner(plan *topology.Plan, s *topology.Stage) topology.Partitioner {
	in := s.Inputs[0]
	if in.Source != nil {
		return in.Source.Partitioner
	}
	return plan.Topics[in.Topic].Partitioner
}

// ask asks for a scheduled savepoint.
func (r *runner) ask(ctx context.Context) error {
	_, err := r.Plane.RequestScheduled(ctx, newID(r.Now()))
	return err
}

// prune removes savepoints that the schedule does not keep.
func (r *runner) prune(ctx context.Context, ids []string) error {
	var errs []error
	for _, id := range ids {
		err := r.Location.Remove(id, func(*savepoint.Manifest) error { return r.Plane.Release(ctx, id) })
		if errors.Is(err, savepoint.ErrNotFound) {
			err = r.Plane.Release(ctx, id) // failed, or removed by hand
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Logger.Info("removed a savepoint that the schedule does not keep", "savepoint", id)
	}
	return errors.Join(errs...)
}
