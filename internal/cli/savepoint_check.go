package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// savepointCheck says whether a job could start from a savepoint.
func (a *app) savepointCheck() *cobra.Command {
	options := startOptions{}
	cmd := &cobra.Command{
		Use:   "check X" + a.fileArgument(),
		Short: "Say line by line whether a job could start from a savepoint: exit 0, or 3",
		Args:  a.plusFile(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.load(args[1:])
			if err != nil {
				return err
			}
			options.savepoint, options.file = args[0], a.fileOf(args[1:])
			return a.withStart(cmd.Context(), job, options, func(p *control.Plane, o control.StartOptions) error {
				return a.check(cmd.Context(), p, job, o)
			})
		},
	}
	cmd.Flags().StringArrayVar(&options.drop, "drop", nil, "give up the state of this uid; may be repeated")
	cmd.Flags().BoolVar(&options.acceptGap, "accept-gap", false, "go on without records that retention has removed")
	return cmd
}

// withStart opens the control topic of a job that is to be started, and the
// savepoint that it is to start from.
func (a *app) withStart(ctx context.Context, job *loaded, options startOptions, do func(*control.Plane, control.StartOptions) error) error {
	return a.withLocation(func(l *savepoint.Location, s settings) error {
		p, err := control.Open(ctx, a.controlSettings(s, job.plan.Job))
		if err != nil {
			return err
		}
		defer p.Close()
		o, err := options.resolve(ctx, p, l, s.savepoints, job.plan)
		if err != nil {
			return err
		}
		err = do(p, o)
		if o.Savepoint != nil && o.Savepoint.Opened != nil {
			err = errors.Join(err, o.Savepoint.Opened.Close())
		}
		return err
	})
}

func (a *app) check(ctx context.Context, p *control.Plane, job *loaded, o control.StartOptions) error {
	if gone := o.Savepoint.Gone; gone != nil {
		return fmt.Errorf("%w: %s was removed", savepoint.ErrNotFound, gone.ID)
	}
	if o.Savepoint.Opened == nil {
		return &failure{code: NotFound, err: fmt.Errorf("%s has no savepoint yet", job.plan.Job), hint: a.nearJob(ctx, job.plan.Job, "take one with procd savepoint "+job.plan.Job)}
	}
	verdict, err := p.Judge(ctx, job.plan, o)
	if err != nil {
		return err
	}
	verdict.Command = a.speak.of(verdict.Command)
	id := o.Savepoint.Opened.Manifest().ID
	output := struct {
		FormatVersion int    `json:"format_version"`
		Job           string `json:"job"`
		Savepoint     string `json:"savepoint"`
		savepoint.Verdict
	}{formatVersion, job.plan.Job, id, verdict}
	if err := a.print(output, func(w io.Writer) {
		printVerdict(w, verdict)
		fmt.Fprintln(w, verdictText(verdict, job.plan.Job, id))
	}); err != nil || verdict.OK {
		return err
	}
	return &failure{code: Refused, err: fmt.Errorf("job %s cannot start from savepoint %s as it is", job.plan.Job, id), hint: verdict.Command}
}

func printVerdict(w io.Writer, v savepoint.Verdict) {
	t := newTable(w)
	for _, l := range v.Lines {
		text := l.Text
		if l.Level == savepoint.Refuse && l.Hint != "" {
			text += "; " + l.Hint
		}
		t.row(l.Level, l.Rule, l.Subject, l.Count, text)
	}
	t.end()
}

// verdictText is the last line: the verdict, and the exact next command.
func verdictText(v savepoint.Verdict, job, id string) string {
	switch {
	case v.OK:
		return fmt.Sprintf("yes, %s can start from %s: %s", job, id, v.Command)
	case v.Command != "":
		return fmt.Sprintf("no, only with what it gives up: %s", v.Command)
	}
	return fmt.Sprintf("no, %s cannot start from %s", job, id)
}
