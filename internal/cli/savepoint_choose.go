package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

func findSavepoint(l *savepoint.Location, name string) (*savepoint.Savepoint, error) {
	if name == control.Latest {
		return nil, usageError("%q needs a job: it is a word of start and savepoint-check; name an id from `procd savepoints`", name)
	}
	return find(l, name)
}

// find opens an id in the location, or a path. What is neither may be a slip of
// an id, or of a word that would do.
func find(l *savepoint.Location, name string, words ...string) (*savepoint.Savepoint, error) {
	sp, err := l.Find(name)
	return sp, nearSavepoint(l, name, err, words...)
}

// nearSavepoint adds to an error that there is no savepoint of this name which
// one may be meant.
func nearSavepoint(l *savepoint.Location, name string, err error, words ...string) error {
	if !errors.Is(err, savepoint.ErrNotFound) {
		return err
	}
	entries, listErr := l.List(func(string) bool { return false })
	if listErr != nil {
		return err // without a list there is only no guess
	}
	for _, e := range entries {
		words = append(words, e.ID)
	}
	if near := meant(name, words, ""); near != "" {
		return &failure{code: NotFound, err: err, hint: near}
	}
	return err
}

// choose resolves what the user wrote behind --savepoint. `latest` is what the
// job's control topic says: a savepoint that was saved last, and is not there,
// is an error, because an older one would be another state.
//
// One that was removed after the job had begun with it is no error yet: whether
// the start needs it is decided with the rest (P7).
func choose(ctx context.Context, p *control.Plane, l *savepoint.Location, dir, word string, plan *topology.Plan) (*control.Chosen, error) {
	named := func(id string) (*control.Chosen, error) { return chosen(l, dir, id, word) }
	if word != control.Latest {
		c, missing := named(word)
		if !errors.Is(missing, savepoint.ErrNotFound) {
			return c, missing
		}
		view, err := viewNow(ctx, p)
		if err != nil {
			return nil, err
		}
		return remembered(view, word, missing)
	}
	view, err := viewNow(ctx, p)
	if err != nil {
		return nil, err
	}
	if _, started := view.Current(); !started {
		return &control.Chosen{Word: word}, firstStart(ctx, p, l, dir, plan)
	}
	last, ok := view.LastSaved()
	if !ok {
		return &control.Chosen{Word: word}, nil
	}
	c, err := named(last.ID)
	if errors.Is(err, savepoint.ErrNotFound) {
		return &control.Chosen{Word: word, Gone: &control.SavepointRef{ID: last.ID}}, nil
	}
	return c, err
}

// firstStart refuses `latest` of a job that was never started where that looks
// like a slip; otherwise it means nothing, so that a container can have the same
// arguments from its first start on (P7).
func firstStart(ctx context.Context, p *control.Plane, l *savepoint.Location, dir string, plan *topology.Plan) error {
	const anew = "without --savepoint it begins with nothing"
	entries, err := l.List(func(string) bool { return false })
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(entries) {
		if e.Manifest != nil && e.Manifest.Job == plan.Job {
			return &failure{
				code: Refused,
				err:  fmt.Errorf("%s was never started on these brokers, which know none of its savepoints in %s, such as %s", plan.Job, dir, e.ID),
				hint: "are --brokers right? a savepoint's id instead of latest starts from it; " + anew,
			}
		}
	}
	views, err := p.Views(ctx)
	if err != nil {
		return nil // it is about other jobs; what matters of it, the start itself meets
	}
	var similar []string
	for name, view := range views {
		if current, ok := view.Current(); ok && readsOneOf(current.Generation.Sources, plan) {
			similar = append(similar, name)
		}
	}
	near := meant(plan.Job, similar, "")
	if near == "" {
		return nil
	}
	return &failure{
		code: NotFound,
		err:  fmt.Errorf("%w: job %s was never started and has none; %s", savepoint.ErrNotFound, plan.Job, near),
		hint: anew,
	}
}

// readsOneOf says whether a job reads one of these topics.
func readsOneOf(sources []control.TopicRef, plan *topology.Plan) bool {
	return slices.ContainsFunc(sources, func(s control.TopicRef) bool {
		return slices.ContainsFunc(plan.Topics, func(t topology.Topic) bool { return t.Kind == topology.SourceTopic && t.Name == s.Name })
	})
}

// viewNow is what a job's control topic says; nothing if there is no such job.
func viewNow(ctx context.Context, p *control.Plane) (*control.View, error) {
	view, err := p.View(ctx)
	if errors.Is(err, control.ErrNoJob) {
		return &control.View{}, nil
	}
	return view, err
}

// remembered is a savepoint that is not there any more, but that a generation
// began with; else the error.
func remembered(view *control.View, word string, missing error) (*control.Chosen, error) {
	ref, ok := view.Remembered(filepath.Base(word))
	if path, err := filepath.Abs(word); err == nil && !ok {
		ref, ok = view.Remembered(path)
	}
	if !ok {
		return nil, missing
	}
	return &control.Chosen{Word: word, Gone: &ref}, nil
}

func chosen(l *savepoint.Location, dir, name, word string) (*control.Chosen, error) {
	sp, err := find(l, name, control.Latest)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if !savepoint.IsID(name) {
		if path, err = filepath.Abs(name); err != nil {
			return nil, errors.Join(fmt.Errorf("savepoint %s: %w", name, err), sp.Close())
		}
	}
	return &control.Chosen{Opened: sp, Path: path, Word: word}, nil
}
