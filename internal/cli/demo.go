package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	motion "github.com/procd/procd/examples/motion-alarm"
	"github.com/procd/procd/internal/cli/demo"
)

// demo tells the story of the motion alarm.
func (a *app) demo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "The motion alarm on an embedded broker: killed, changed while it runs, rewound, and nothing lost",
		Args:  cobra.NoArgs,
		Annotations: map[string]string{
			unbounded: "yes",
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find procd itself, to start more of it: %w", err)
			}
			story := a.Out
			if a.flags.json {
				story = a.Err
			}
			result, err := demo.Run(cmd.Context(), demo.Config{
				Executable: executable, BrokerCommand: brokerCommand, V1: motion.V1, V2: motion.V2, Out: story,
			})
			if err != nil {
				return err
			}
			output := struct {
				FormatVersion int `json:"format_version"`
				demo.Result
			}{formatVersion, result}
			if err := a.print(output, func(io.Writer) {}); err != nil {
				return err
			}
			if !result.Right() {
				return errors.New("the demo found lost, doubled or wrong alarms; please report it")
			}
			return nil
		},
	}
}
