package cli

import (
	"context"
	"io"
	"log/slog"

	"github.com/procd/procd/topology"
)

// RunOptions are what `procd start` takes from its command line.
type RunOptions struct {
	Brokers          []string
	Settings         string // file
	Data             string
	Admin            string
	SavepointDir     string
	Savepoint        string
	Resume           bool
	OffsetsFromState bool
	Stdout           io.Writer
	Logger           *slog.Logger
}

// Run does what `procd start` does, in a program with a command line of its
// own. The end of ctx is what SIGTERM is to a process.
func Run(ctx context.Context, job *topology.Job, o RunOptions) error {
	plan, err := plannedGo(job)
	if err != nil {
		return err
	}
	set, err := resolve(flags{config: o.Settings, data: o.Data, savepointDir: o.SavepointDir, admin: o.Admin}, o.Brokers, o.Logger)
	if err != nil {
		return err
	}
	p := &process{
		plan: plan, settings: set, stdout: o.Stdout, log: o.Logger,
		options: startOptions{resume: o.Resume, offsetsFromState: o.OffsetsFromState, savepoint: o.Savepoint},
	}
	return p.run(ctx)
}
