package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/topology"
)

// Streams are what a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer // results
	Err io.Writer // everything else
}

// Standard are the process's own streams.
func Standard() Streams { return Streams{os.Stdin, os.Stdout, os.Stderr} }

// app is one run of a command line.
type app struct {
	Streams
	job   *topology.Job // of a Go binary; nil: jobs are YAML files
	flags flags
	log   *slog.Logger
	speak *dialect // of messages
}

// Main runs a command line, without the program's name, and returns the exit
// code. With a job the commands are about that one, and take no job argument;
// without, jobs are YAML files.
func Main(ctx context.Context, args []string, s Streams, job *topology.Job) int {
	ctx, stop := withSignals(ctx, s.Err)
	defer stop()
	a := &app{Streams: s, job: job}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	err = whyEnded(ctx, err)
	if err != nil {
		report(a.speak.writer(s.Err), err)
	}
	return exitCode(err)
}

// whyEnded replaces what an ended context looks like from inside by the reason
// for its end.
func whyEnded(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// root is the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "procd",
		Short:         "Stateful stream processing next to Kafka, exactly once",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.log = a.newLogger(slog.LevelInfo)
			return nil
		},
	}
	if a.job != nil {
		root.Use = a.job.Name()
		root.Short = "The job " + a.job.Name() + ", run by procd"
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(badFlag)
	a.flags.add(root.PersistentFlags())
	root.AddCommand(a.start(), a.stop(), a.list(), a.status(), a.reset(), a.health(), a.topology(), a.validate(), a.dev(), a.history(), a.get())
	root.AddCommand(a.savepointCommands()...)
	if a.job == nil {
		root.AddCommand(a.test(), a.schema(), a.initialize(), a.demo(), a.broker())
	}
	if a.job != nil {
		a.speak = dialectOf(root.Commands(), a.job.Name())
		root.SetOut(a.speak.writer(a.Out))
	}
	for _, cmd := range root.Commands() {
		a.finish(cmd)
	}
	return root
}

// finish gives a command, and those below it, what all have.
func (a *app) finish(cmd *cobra.Command) {
	cmd.Args = usage(cmd.Args)
	cmd.RunE = a.bounded(cmd.RunE)
	for _, below := range cmd.Commands() {
		a.finish(below)
	}
}

// unbounded marks commands that run until they are told to end.
const unbounded = "unbounded"

// bounded ends a command after --timeout.
func (a *app) bounded(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if cmd.Annotations[unbounded] != "" {
			return run(cmd, args)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), a.flags.timeout)
		defer cancel()
		cmd.SetContext(ctx)
		err := run(cmd, args)
		if errors.Is(err, context.DeadlineExceeded) && exitCode(err) == TimedOut {
			return &failure{code: TimedOut, err: err, hint: "nothing was lost: ask again, or wait longer with --timeout"}
		}
		return err
	}
}

// newLogger logs to stderr. A job's messages are for operators: text, one line
// each.
func (a *app) newLogger(level slog.Level) *slog.Logger {
	if a.flags.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.speak.writer(a.Err), &slog.HandlerOptions{Level: level}))
}

// defaultTimeout bounds commands that ask or tell a cluster something.
const defaultTimeout = time.Minute
