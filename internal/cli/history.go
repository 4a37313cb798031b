package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
)

// history shows what became of a job, and who asked for it.
func (a *app) history() *cobra.Command {
	return &cobra.Command{
		Use:   "history" + a.jobArgument(),
		Short: "Show a job's generations, revisions and savepoints, and who asked for them",
		Args:  a.fileArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPlane(cmd, args, func(ctx context.Context, p *control.Plane, job string, _ settings) error {
				view, err := p.View(ctx)
				if err != nil {
					return err
				}
				output := struct {
					FormatVersion int                 `json:"format_version"`
					Job           string              `json:"job"`
					History       []coordinator.Entry `json:"history"`
				}{formatVersion, job, coordinator.History(view)}
				return a.print(output, func(w io.Writer) { printHistory(w, output.History, view) })
			})
		},
	}
}

func printHistory(w io.Writer, entries []coordinator.Entry, view *control.View) {
	began := map[int]control.Generation{}
	for _, g := range view.Generations() {
		began[g.Generation] = g
	}
	t := newTable(w)
	t.row("TIME", "GENERATION", "RUN", "WHAT", "BY")
	for _, e := range entries {
		run := "-"
		if e.Run > 0 {
			run = fmt.Sprint(e.Run)
		}
		t.row(e.At.Format(time.RFC3339), e.Generation, run, whatHappened(e, began[e.Generation]), e.By)
	}
	t.end()
}

func whatHappened(e coordinator.Entry, g control.Generation) string {
	switch e.Kind {
	case coordinator.BeganGeneration:
		return "began " + origin(g)
	case coordinator.BeganRevision:
		return fmt.Sprintf("revision %d: the job was changed", e.Revision)
	case coordinator.TookSavepoint:
		return savepointText(e.Savepoint)
	case coordinator.CameToState:
		if e.State == control.Running {
			return "RUNNING again"
		}
	}
	return string(e.State)
}

// origin says what a generation began with, and what was accepted then.
func origin(g control.Generation) string {
	text := "with nothing"
	if g.Savepoint != nil {
		text = "with savepoint " + g.Savepoint.ID
	}
	if n := g.Replay(); n > 0 {
		text += fmt.Sprintf(", %s again", plural(n, "record"))
	}
	return text + givenUp(g.Dropped, g.AcceptedGap)
}

// givenUp says what was given up to begin with a savepoint; "" if nothing.
func givenUp(dropped []string, gap int64) (text string) {
	for _, uid := range dropped {
		text += ", without the state of " + uid
	}
	if gap > 0 {
		text += fmt.Sprintf(", %s skipped", plural(gap, "record"))
	}
	return text
}

func savepointText(r *control.Result) string {
	switch {
	case !r.Saved:
		return fmt.Sprintf("savepoint %s FAILED: %s", r.ID, r.Reason)
	case r.Stopped:
		return fmt.Sprintf("SAVED and STOPPED %s", r.ID)
	}
	return "SAVED " + r.ID
}
