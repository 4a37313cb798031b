// Package procd runs stateful stream processing jobs that are written in Go.
//
// A job is built with package topology; a main that ends with [Main] is a
// binary with the commands of the procd program, all about that job:
//
//	func main() {
//		job := topology.New("motion-alarm")
//		events := topology.From(job, "alarm-events", codec.JSON[Event](), topology.PartitionedBy(room))
//		alarms := topology.Process(events, "arm", alarm)
//		topology.To(alarms, "alarms", codec.JSON[Alarm]())
//		procd.Main(job)
//	}
//
//	./motion-alarm start --brokers kafka:9092
//	./motion-alarm status
//
// [Run] is for programs with a command line of their own.
package procd

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/procd/procd/internal/cli"
	"github.com/procd/procd/topology"
)

// Main runs the command line of a job and exits. It does not return.
func Main(job *topology.Job) {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Standard(), job))
}

// Options of [Run]. The zero Options run with what `start` runs with when it
// is given no flags, but for PROCD_BROKERS, which only commands read.
type Options struct {
	Brokers  []string // host:port; default: Settings, else 127.0.0.1:9092
	Settings string   // path of a settings file: TLS, SASL, memory, workers
	Data     string   // directory of seats and local state; default ./procd-data
	Admin    string   // address of metrics and health, or "off"; default 127.0.0.1:9870
	// SavepointDir is the directory of savepoints; default ./savepoints. All
	// processes of a job need the same one.
	SavepointDir string
	// Savepoint is the id or path of the savepoint to start from, or "latest".
	Savepoint string
	Resume    bool // start a job that was stopped
	// OffsetsFromState commits the positions recorded with the state as the
	// group's offsets first: the answer to a refusal that says so.
	OffsetsFromState bool
	Stdout           io.Writer    // for topology.ToStdout; default os.Stdout
	Logger           *slog.Logger // default slog.Default()
}

// Run runs a job in this process until ctx ends (nil: what was read is
// committed, and the process keeps its place in the group for the session
// timeout), the job is stopped (nil), or something is wrong that trying again
// does not mend. While no broker answers it keeps trying.
//
// The running executable counts as the job's definition: a changed one is a
// changed job.
func Run(ctx context.Context, job *topology.Job, o Options) error {
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return cli.Run(ctx, job, cli.RunOptions{
		Brokers: o.Brokers, Settings: o.Settings, Data: o.Data, Admin: o.Admin,
		SavepointDir: o.SavepointDir, Savepoint: o.Savepoint, Resume: o.Resume, OffsetsFromState: o.OffsetsFromState, Stdout: o.Stdout, Logger: o.Logger,
	})
}
