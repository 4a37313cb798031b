package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/internal/control"
)

// What a slip of the hand was meant to be.

// meant is "did you mean ...?", or otherwise, if nothing is near.
func meant(name string, candidates []string, otherwise string) string {
	if slices.Contains(candidates, name) {
		return otherwise
	}
	if near := expr.Nearest(name, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return otherwise
}

// unknownCommand is a first word that no command has.
func unknownCommand(root *cobra.Command, word string) error {
	var names []string
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			names = append(names, cmd.Name())
		}
	}
	return usageError("there is no command %q; %s", word, meant(word, names, "see `procd --help`"))
}

// badFlag says what is wrong with a flag.
func badFlag(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		hint = meant("--"+unknown.GetSpecifiedName(), names, hint)
	}
	return usageError("%w; %s", err, hint)
}

// usage makes a wrong number of arguments an error of usage.
func usage(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if args(cmd, given) == nil {
			return nil
		}
		got := "nothing was given"
		if len(given) > 0 {
			got = "given was " + strings.Join(given, " ")
		}
		// A flag that lacks its value takes the word behind it.
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if v := f.Value.String(); isJobFile(v) {
				got += fmt.Sprintf(", and %s as the value of --%s", v, f.Name)
			}
		})
		return usageError("`%s` takes %s; %s", cmd.CommandPath(), argumentsOf(cmd), got)
	}
}

func argumentsOf(cmd *cobra.Command) string {
	if _, arguments, ok := strings.Cut(cmd.Use, " "); ok {
		return arguments
	}
	return "no argument"
}

func isJobFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// noFile is a job file that does not exist.
func noFile(path string) error {
	near, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.y*ml"))
	if err != nil { // a directory with a [ in its name
		near = nil
	}
	otherwise := "`procd init NAME` writes a first one"
	if !isJobFile(path) {
		otherwise = "the file of a job ends in .yaml"
	}
	return usageError("there is no job file %s; %s", path, meant(path, near, otherwise))
}

func missingFile(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

// noJob adds to an error that there is no job of this name what may be meant.
func (a *app) noJob(ctx context.Context, job string, err error) error {
	if !errors.Is(err, control.ErrNoJob) {
		return err
	}
	return &failure{code: NotFound, err: err, hint: a.nearJob(ctx, job, "procd list shows the jobs on these brokers")}
}

// nearJob is meant for the jobs on the brokers.
func (a *app) nearJob(ctx context.Context, job, otherwise string) string {
	var names []string
	// Without a list there is only no guess.
	if s, err := a.settings(); err == nil {
		if jobs, err := control.List(ctx, a.controlSettings(s, "")); err == nil {
			for _, j := range jobs {
				names = append(names, j.Job)
			}
		}
	}
	return meant(job, names, otherwise)
}
