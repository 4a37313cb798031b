package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/embedded"
)

// brokerCommand is the hidden command that the demo starts its broker with.
const brokerCommand = "embedded-broker"

// broker runs an embedded broker in a process of its own, so that the others
// can be killed. It prints its address, and ends with stdin: whatever happens
// to the process that started it, nothing is left.
func (a *app) broker() *cobra.Command {
	return &cobra.Command{
		Use:         brokerCommand,
		Short:       "Run an embedded broker until stdin ends",
		Hidden:      true,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{unbounded: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := embedded.Start()
			if err != nil {
				return err
			}
			defer b.Close()
			fmt.Fprintln(a.Out, b.Addr())
			_, err = io.Copy(io.Discard, a.In)
			return err
		},
	}
}
