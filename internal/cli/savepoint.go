package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// savepointCommands are all commands about savepoints. Those about one that
// exists have two spellings: savepoint-verify and savepoint verify.
func (a *app) savepointCommands() []*cobra.Command {
	take := a.savepoint()
	list := a.savepoints()
	commands := []*cobra.Command{take, a.savepointAndStop(), list}
	take.AddCommand(respelled(list, "ls"))
	for _, about := range []struct {
		word string
		make func() *cobra.Command
	}{
		{"inspect", a.savepointInspect}, {"verify", a.savepointVerify}, {"check", a.savepointCheck},
		{"export", a.savepointExport}, {"rm", a.savepointRemove},
	} {
		take.AddCommand(about.make())
		commands = append(commands, respelled(about.make(), "savepoint-"+about.word))
	}
	return commands
}

// respelled is a command under another name.
func respelled(cmd *cobra.Command, name string) *cobra.Command {
	again := *cmd
	again.Use = name + cmd.Use[len(cmd.Name()):]
	return &again
}

// withLocation opens the directory of savepoints. Looking does not make it.
func (a *app) withLocation(do func(l *savepoint.Location, s settings) error) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	l := savepoint.LocationAt(s.savepoints)
	return errors.Join(do(l, s), l.Close())
}

// withSavepoint opens the savepoint that a command is about: an id, or a path.
func (a *app) withSavepoint(name string, do func(sp *savepoint.Savepoint) error) error {
	return a.withLocation(func(l *savepoint.Location, _ settings) error {
		sp, err := findSavepoint(l, name)
		if err != nil {
			return err
		}
		return errors.Join(do(sp), sp.Close())
	})
}

func findSavepoint(l *savepoint.Location, name string) (*savepoint.Savepoint, error) {
	if name == control.Latest {
		return nil, usageError("%q needs a job: it is a word of start and savepoint-check; name an id from `procd savepoints`", name)
	}
	return l.Find(name)
}

// choose resolves what the user wrote behind --savepoint. `latest` is what the
// job's control topic says: a savepoint that was saved last, and is not there,
// is an error, because an older one would be another state.
//
// One that was removed after the job had begun with it is no error yet: whether
// the start needs it is decided with the rest (P7).
func choose(ctx context.Context, p *control.Plane, l *savepoint.Location, dir, word string) (*control.Chosen, error) {
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
	id := latestSaved(view)
	if id == "" {
		return &control.Chosen{Word: word}, nil
	}
	c, err := named(id)
	if errors.Is(err, savepoint.ErrNotFound) {
		return &control.Chosen{Word: word, Gone: &control.SavepointRef{ID: id}}, nil
	}
	return c, err
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

// latestSaved is the savepoint that was saved last, "" if there is none.
func latestSaved(v *control.View) (id string) {
	for _, r := range v.Results() {
		if r.Saved {
			id = r.ID
		}
	}
	return id
}

func chosen(l *savepoint.Location, dir, name, word string) (*control.Chosen, error) {
	sp, err := l.Find(name)
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
