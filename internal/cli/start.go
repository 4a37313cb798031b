package cli

import (
	"github.com/spf13/cobra"
)

// start runs a job in the foreground.
func (a *app) start() *cobra.Command {
	var options startOptions
	cmd := &cobra.Command{
		Use:   "start" + a.fileArgument(),
		Short: "Run a job in the foreground: SIGTERM commits and keeps the seat, Ctrl-C gives it up",
		Long: `Run a job in the foreground, until SIGTERM, Ctrl-C or procd stop.

More processes of the same job share its work. While no broker answers, start
keeps trying. SIGTERM ends it after a commit and keeps its place in the group
for the session timeout, so that a restart moves nothing; Ctrl-C gives it up.`,
		Args:        a.fileArgs(),
		Annotations: map[string]string{unbounded: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := options.check(); err != nil {
				return err
			}
			job, err := a.load(args)
			if err != nil {
				return err
			}
			options.file = a.fileOf(args)
			if options.dryRun {
				return a.dryRun(cmd.Context(), job, options)
			}
			set, err := a.settings()
			if err != nil {
				return err
			}
			p := &process{
				plan: job.plan, commit: job.commit, settings: set, options: options,
				stdout: a.Out, log: a.log,
			}
			return p.run(cmd.Context())
		},
	}
	options.add(cmd.Flags())
	return cmd
}
