package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
)

// stop stops every process of a job.
func (a *app) stop() *cobra.Command {
	return &cobra.Command{
		Use:     "stop" + a.jobArgument(),
		Aliases: []string{"cancel"},
		Short:   "Stop every process of a job after a commit; it stays stopped until start --resume",
		Args:    a.fileArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPlane(cmd, args, a.stopJob)
		},
	}
}

func (a *app) stopJob(ctx context.Context, p *control.Plane, job string, _ settings) error {
	stop := a.waiting("waiting for the processes of " + job + " to commit and leave")
	result, err := p.Stop(ctx)
	stop()
	if err != nil {
		return err
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		Job           string `json:"job"`
		control.StopResult
	}{formatVersion, job, result}
	return a.print(output, func(w io.Writer) {
		verb := "stopped"
		if result.Already {
			verb = "was stopped already"
		}
		fmt.Fprintf(w, "%s %s: generation %d, run %d\n", job, verb, result.Generation, result.Run)
		for _, member := range result.Removed {
			fmt.Fprintf(w, "removed %s, which did not leave by itself\n", member)
		}
	})
}
