package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
)

// list shows the jobs on the brokers.
func (a *app) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the jobs on the brokers: name, state, generation, members, lag, last savepoint",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			jobs, err := control.List(cmd.Context(), a.controlSettings(s, ""))
			if err != nil {
				return err
			}
			return a.printJobs(jobs)
		},
	}
}

func (a *app) printJobs(jobs []control.Summary) error {
	output := struct {
		FormatVersion int               `json:"format_version"`
		Jobs          []control.Summary `json:"jobs"`
	}{formatVersion, jobs}
	return a.print(output, func(w io.Writer) {
		t := newTable(w)
		t.row("JOB", "STATE", "GENERATION", "REVISION", "RUN", "MEMBERS", "LAG", "LAST SAVEPOINT")
		for _, j := range jobs {
			t.row(j.Job, orDash(string(j.State)), j.Generation, j.Revision, j.Run, j.Members, j.Lag, orDash(j.LastSavepoint))
		}
		t.end()
		for _, j := range jobs {
			if j.Problem != "" {
				fmt.Fprintf(w, "%s: %s\n", j.Job, packagePrefix.ReplaceAllString(j.Problem, ""))
			}
		}
	})
}
