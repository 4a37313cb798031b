package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/procd/procd/bench/peer/bare"
	"github.com/procd/procd/internal/cli"
	"github.com/procd/procd/internal/kafkatest"
)

// engine is a program that can run the workloads, in a process of its own.
type engine struct {
	name string
	// prepare builds what is to be built. With errUnavailable the engine is left
	// out of the run.
	prepare func(context.Context) error
	// command is the program and its arguments.
	command func(r *run) []string
	// group is what the engine commits its source offsets as.
	group func(job string) string
	// topics are internal topics that must be there before it starts.
	topics func(r *run) []string
	stop   os.Signal // ends it in order
}

// errUnavailable is why an engine is left out.
var errUnavailable = errors.New("left out")

// run is one engine at work on one topic.
type run struct {
	e       *engine
	w       *workload
	job     string // of this run only; the names of all its topics hold it
	in, out string
	brokers string
	dir     string // for state; the engine's own
	proc    *kafkatest.Process
	commit  time.Duration
	profile string // file for a CPU profile, if the engine is written in Go
}

// profileVariable is how a process is told the file for its CPU profile.
const profileVariable = "PROCD_BENCH_PROFILE"

// profiled runs a role of this program, under a profile if one is asked for.
func profiled(role func([]string) int, args []string) int {
	path := os.Getenv(profileVariable)
	if path == "" {
		return role(args)
	}
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return 1
	}
	defer f.Close()
	defer pprof.StopCPUProfile()
	return role(args)
}

func (r *run) group() string { return r.e.group(r.job) }

// savepoints is the directory of the run's savepoints.
func (r *run) savepoints() string { return filepath.Join(r.dir, "savepoints") }

// start starts the engine. args are added to its own.
func (r *run) start(args ...string) error {
	if err := os.MkdirAll(r.state(), 0o755); err != nil {
		return err
	}
	command := append(r.e.command(r), args...)
	var err error
	var env []string
	if r.profile != "" {
		env = append(env, profileVariable+"="+r.profile)
	}
	r.proc, err = kafkatest.Existing(command[0]).Start(r.dir, env, command[1:]...)
	return err
}

// state is where the engine keeps its state: what is lost with the disk.
func (r *run) state() string { return filepath.Join(r.dir, "state") }

// stop ends the engine in order.
func (r *run) stop() error {
	const patience = 30 * time.Second
	code, err := r.proc.Stop(r.e.stop, patience)
	if err == nil && code != 0 && r.e.stop != syscall.SIGKILL {
		err = fmt.Errorf("%s ended with exit code %d:\n%s", r.e.name, code, r.proc.Stderr.Tail(20))
	}
	return err
}

// The first argument of this program when it is an engine, or somebody who uses
// one, instead of the benchmark.
const (
	procdRole = "procd"
	bareRole  = "bare"
)

// self is this program.
func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err) // Linux always knows
	}
	return path
}

var procdEngine = &engine{
	name:    "procd",
	command: func(r *run) []string { return procdCommand(r, "start", "--admin", "off") },
	group:   func(job string) string { return "procd." + job },
	stop:    syscall.SIGINT,
}

// procdCommand is a command of a procd binary that has the run's job, or of the
// plain one where the job is a file.
func procdCommand(r *run, name string, args ...string) []string {
	args = append(args, "--brokers", r.brokers)
	if name == "start" {
		args = append(args, "--data", r.state())
	}
	args = append(args, "--savepoint-dir", r.savepoints())
	command := []string{self(), procdRole, r.w.name, r.job, r.in, r.out, name}
	if r.w.yaml != nil {
		command = append(command, r.file())
	}
	return append(command, args...)
}

// file is the path of the job file.
func (r *run) file() string { return filepath.Join(r.dir, "job.yaml") }

// asProcd runs procd's command line.
func asProcd(args []string) int {
	name, job, in, out := args[0], args[1], args[2], args[3]
	for _, w := range allWorkloads() {
		switch {
		case w.name != name:
		case w.yaml != nil:
			return cli.Main(context.Background(), args[4:], cli.Standard(), nil)
		default: // what procd.Main does, but for the profile
			return cli.Main(context.Background(), args[4:], cli.Standard(), w.job(job, in, out))
		}
	}
	fmt.Fprintf(os.Stderr, "no workload %q\n", name)
	return 2
}

var bareEngine = &engine{
	name: "bare",
	command: func(r *run) []string {
		return []string{self(), bareRole, "-brokers", r.brokers, "-kind", r.w.kind, "-group", r.job, "-in", r.in, "-out", r.out,
			"-dir", r.state(), "-commit", r.commit.String()}
	},
	group: func(job string) string { return job },
	topics: func(r *run) []string {
		var topics []string
		if r.w.kind != kindCopy {
			topics = append(topics, bare.Changelog(r.job))
		}
		if r.w.kind == kindTwoStages {
			topics = append(topics, bare.Repartition(r.job))
		}
		return topics
	},
	stop: syscall.SIGINT,
}

// asBare runs the bare loop.
func asBare(args []string) int {
	var o bare.Options
	f := flag.NewFlagSet(bareRole, flag.ExitOnError)
	f.StringVar(&o.Brokers, "brokers", "", "")
	f.StringVar(&o.Kind, "kind", "", "")
	f.StringVar(&o.Group, "group", "", "")
	f.StringVar(&o.In, "in", "", "")
	f.StringVar(&o.Out, "out", "", "")
	f.StringVar(&o.Dir, "dir", "", "")
	f.DurationVar(&o.Commit, "commit", 0, "")
	f.Parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bare.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		return 1
	}
	return 0
}

// changelog says whether a topic of a run holds changes of state.
func (r *run) changelog(topic string) bool {
	return strings.Contains(topic, r.job) && strings.HasSuffix(topic, "changelog")
}

// repartition says whether a topic of a run is between two of its stages.
func (r *run) repartition(topic string) bool {
	return strings.Contains(topic, r.job) && strings.HasSuffix(topic, "repartition")
}
