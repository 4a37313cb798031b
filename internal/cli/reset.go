package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
)

// reset deletes what a job has kept.
func (a *app) reset() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset" + a.jobArgument(),
		Short: "Delete state, internal topics and offsets of a stopped job; it begins anew",
		Long: `Delete the state, the internal topics and the group offsets of a job that does
not run, and the local state in --data. The next start is a new generation, from
the start that the job's input names. Without --yes it only says what would go.`,
		Args: a.fileArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPlane(cmd, args, func(ctx context.Context, p *control.Plane, job string, s settings) error {
				return a.resetJob(ctx, p, job, s.data, yes)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func (a *app) resetJob(ctx context.Context, p *control.Plane, job, data string, yes bool) error {
	result, err := p.Reset(ctx, control.ResetOptions{DataDir: data, DryRun: !yes})
	if err != nil {
		return err
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		Job           string `json:"job"`
		Deleted       bool   `json:"deleted"`
		control.ResetResult
	}{formatVersion, job, yes, result}
	if err := a.print(output, func(w io.Writer) { printReset(w, job, yes, result) }); err != nil || yes {
		return err
	}
	return &failure{code: Refused, err: fmt.Errorf("reset of %s deletes what is listed above", job), hint: "repeat with --yes to do it"}
}

func printReset(w io.Writer, job string, done bool, r control.ResetResult) {
	verb := "would delete"
	if done {
		verb = "deleted"
	}
	for _, topic := range r.Topics {
		fmt.Fprintf(w, "%s topic %s\n", verb, topic)
	}
	fmt.Fprintf(w, "%s group %s and its offsets\n", verb, r.Group)
	if r.DataDir != "" {
		fmt.Fprintf(w, "%s local state of %s in %s\n", verb, job, r.DataDir)
	}
	if done {
		fmt.Fprintf(w, "the next start of %s is generation %d\n", job, r.Generation+1)
	}
}
