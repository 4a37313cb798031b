package cli

import (
	"errors"

	"github.com/spf13/cobra"

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
