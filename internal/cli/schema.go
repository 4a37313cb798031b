package cli

import (
	"github.com/spf13/cobra"

	"github.com/procd/procd/config"
)

// schema prints the JSON Schema of job files.
func (a *app) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema (draft 7) of the job file, for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.Out.Write(config.Schema())
			return err
		},
	}
}
