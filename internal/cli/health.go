package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/admin"
)

// healthTimeout bounds a question to a process on this machine.
const healthTimeout = 5 * time.Second

// health asks a process on this machine how it is.
func (a *app) health() *cobra.Command {
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the process at --admin whether it is alive (exit 0 or 1), for container health checks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			if s.admin == adminOff {
				return usageError("health: --admin is off, so there is nothing to ask")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), min(a.flags.timeout, healthTimeout))
			defer cancel()
			answer, err := admin.Ask(ctx, s.admin, ready)
			if err != nil {
				// Docker knows 0 and 1 only.
				return &failure{code: Failed, err: err}
			}
			output := struct {
				FormatVersion int    `json:"format_version"`
				Healthy       bool   `json:"healthy"`
				Answer        string `json:"answer"`
			}{formatVersion, true, answer}
			return a.print(output, func(w io.Writer) { fmt.Fprintln(w, answer) })
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether all its tasks run")
	return cmd
}
