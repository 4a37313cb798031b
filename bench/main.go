// Command bench measures procd and its peers side by side on a real Kafka, all
// on this machine, and checks every output it measured. bench/README.md says
// how to read it.
//
//	go run ./bench [-run REGEXP] [-engines REGEXP] [-quick] [-json FILE]
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

// commitInterval is that of all engines, but for Flink's checkpoints.
const commitInterval = 100 * time.Millisecond

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case procdRole:
			os.Exit(profiled(asProcd, os.Args[2:]))
		case bareRole:
			os.Exit(profiled(asBare, os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, parse()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// session is one run of the benchmark.
type session struct {
	options
	b       *broker
	engines []*engine
	report  *report
	failed  bool // something is void
	warm    bool // the broker has served a drain

	topic string // holds what input and size say; empty: none
	input *input
	size  int
}

func (s *session) runsOf(e *engine) int {
	if e == procdEngine || e == bareEngine {
		return s.runs
	}
	return s.peerRuns
}

func allEngines() []*engine {
	return []*engine{procdEngine, bareEngine, streamsEngine, flinkRocksDB, flinkHeap}
}

// allWorkloads are the workloads of all kinds.
func allWorkloads() []*workload {
	all := drains[:len(drains):len(drains)]
	for _, w := range latencies {
		all = append(all, w.workload)
	}
	for _, w := range restarts {
		all = append(all, w.workload)
	}
	for _, w := range savepoints {
		all = append(all, w.workload)
	}
	for _, w := range larges {
		all = append(all, w.workload)
	}
	return all
}

// options are the flags.
type options struct {
	run, engines   *regexp.Regexp
	records        int // per drain
	runs           int // of procd and the bare loop
	peerRuns       int // of the others
	seconds        float64
	quick, record  bool
	json, profiles string // files; empty: none
	broker         string // empty: start one
}

func parse() options {
	o := options{run: regexp.MustCompile("."), engines: regexp.MustCompile(".")}
	pattern := func(name, usage string, re **regexp.Regexp) {
		flag.Func(name, usage+" whose names match this `regexp` (default all)", func(text string) (err error) {
			*re, err = regexp.Compile(text)
			return err
		})
	}
	pattern("run", "the workloads", &o.run)
	pattern("engines", "the engines", &o.engines)
	flag.IntVar(&o.records, "records", 3_000_000, "records per drain")
	flag.IntVar(&o.runs, "runs", 3, "runs of procd and of the bare loop; the median counts")
	flag.IntVar(&o.peerRuns, "peer-runs", 1, "runs of the other engines")
	flag.Float64Var(&o.seconds, "seconds", 10, "how long latencies are measured, for each engine and load")
	flag.BoolVar(&o.quick, "quick", false, "a few minutes: fewer records, one run")
	flag.StringVar(&o.json, "json", "", "write all figures to this `file`")
	flag.StringVar(&o.profiles, "profiles", "", "write CPU profiles of drains by procd and the bare loop to this `directory`")
	flag.StringVar(&o.broker, "broker", "", "use the Kafka at this `address` instead of starting one; its CPU time is not measured then")
	flag.BoolVar(&o.record, "record", false, "write the ratios to the bare loop to bench/baseline.json, to compare later runs with")
	flag.Parse()
	if o.quick {
		o.records, o.runs, o.peerRuns = min(o.records, 500_000), 1, 1
	}
	return o
}

func bench(ctx context.Context, o options) (err error) {
	s := &session{options: o, report: newReport(os.Args[1:])}
	if o.profiles != "" {
		if err := s.profileDir(); err != nil {
			return err
		}
	}
	if err := s.choose(ctx, o.engines); err != nil {
		return err
	}
	var stop func()
	if s.b, stop, err = open(ctx, o.broker); err != nil {
		return err
	}
	defer stop()
	err = s.measure(ctx)
	fmt.Fprintf(os.Stderr, "all of it took %v\n", time.Since(s.report.Started).Round(time.Second))
	s.report.print(os.Stdout)
	if o.json != "" {
		err = errors.Join(err, s.report.write(o.json))
	}
	if err != nil || s.failed {
		return cmp.Or(err, errors.New("something did not run, or its output was wrong"))
	}
	if o.record {
		return s.report.record("bench/baseline.json")
	}
	return s.report.regressions(recorded)
}

// profileDir makes the directory of profiles.
func (s *session) profileDir() (err error) {
	if s.profiles, err = filepath.Abs(s.profiles); err != nil {
		return err
	}
	return os.MkdirAll(s.profiles, 0o755)
}

// void notes that an engine failed at a workload; the others go on. An
// interrupt is an error.
func (s *session) void(ctx context.Context, w *workload, e *engine, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	line := fmt.Sprintf("%s: %s: %v", w.name, e.name, err)
	fmt.Fprintln(os.Stderr, line)
	s.report.Void = append(s.report.Void, line)
	s.failed = true
	return nil
}

// choose prepares the engines; those that this machine cannot run are left out.
func (s *session) choose(ctx context.Context, who *regexp.Regexp) error {
	for _, e := range allEngines() {
		if !who.MatchString(e.name) {
			continue
		}
		if e.prepare != nil {
			if err := e.prepare(ctx); errors.Is(err, errUnavailable) {
				s.report.LeftOut = append(s.report.LeftOut, fmt.Sprintf("%s: %v", e.name, err))
				continue
			} else if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
		s.engines = append(s.engines, e)
	}
	if len(s.engines) == 0 {
		return errors.New("no engine to measure")
	}
	return nil
}

// open connects to the Kafka at addr, or starts one.
func open(ctx context.Context, addr string) (b *broker, stop func(), err error) {
	b, stop = &broker{addr: addr}, func() {}
	if addr == "" {
		started, err := kafkatest.StartBroker(ctx, kafkatest.BrokerOptions{})
		if err != nil {
			return nil, nil, err
		}
		b.addr, b.pid = started.Addr(), started.PID()
		stop = func() { started.Stop() }
	}
	if b.Cluster, err = kafkatest.Connect(b.addr); err != nil {
		stop()
		return nil, nil, err
	}
	stopBroker := stop
	return b, func() { b.Close(); stopBroker() }, nil
}

func (s *session) measure(ctx context.Context) error {
	defer s.unload()
	for _, w := range matching(drains, s.run) {
		if err := s.measureDrains(ctx, w); err != nil {
			return err
		}
	}
	for _, w := range latencies {
		if s.run.MatchString(w.name) {
			if err := s.measureLatency(ctx, w); err != nil {
				return err
			}
		}
	}
	for _, w := range restarts {
		if s.run.MatchString(w.name) && !s.tooLong(w.workload) {
			if err := s.measureRestart(ctx, w); err != nil {
				return err
			}
		}
	}
	for _, w := range savepoints {
		if s.run.MatchString(w.name) && !s.tooLong(w.workload) && slices.Contains(s.engines, procdEngine) {
			if err := s.measureSavepoint(ctx, w); err != nil {
				return err
			}
		}
	}
	for _, w := range larges {
		if s.run.MatchString(w.name) && !s.tooLong(w.workload) && slices.Contains(s.engines, procdEngine) {
			if err := s.measureLarge(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// tooLong says that a workload is none for a quick run.
func (s *session) tooLong(w *workload) bool { return s.quick && w.input.keys > 1_000_000 }

// preloadedAtLeast returns a topic with a record for each key at least, and
// with what the load of earlier engines added: s.size records.
func (s *session) preloadedAtLeast(ctx context.Context, in *input) (string, error) {
	if s.topic != "" && s.input == in && s.size >= in.keys {
		return s.topic, nil
	}
	return s.preloaded(ctx, in, in.keys)
}

// empty returns a topic without records.
func (s *session) empty(ctx context.Context, in *input) (string, error) {
	s.unload()
	return s.preloaded(ctx, in, 0)
}

// preloaded returns a topic with the first records of an input. The topic of
// the last call is used again if it is the same, and deleted otherwise.
func (s *session) preloaded(ctx context.Context, in *input, records int) (string, error) {
	if s.topic != "" && s.input == in && s.size == records {
		return s.topic, nil
	}
	s.unload()
	topic := fmt.Sprintf("input-%s-%x", in.name, time.Now().UnixNano()&0xffffffffff)
	if err := s.b.CreateTopic(ctx, topic, partitions, nil); err != nil {
		return "", err
	}
	s.topic, s.input, s.size = topic, in, records
	started := time.Now()
	if err := preload(ctx, s.b.addr, topic, in, 0, records); err != nil {
		return "", err
	}
	if records > 0 {
		fmt.Fprintf(os.Stderr, "%d records of %s written in %.1f s\n", records, in.name, time.Since(started).Seconds())
	}
	return topic, nil
}

// unload deletes the input topic.
func (s *session) unload() {
	if s.topic == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.b.DeleteTopic(ctx, s.topic); err != nil {
		fmt.Fprintln(os.Stderr, "bench: cleaning up:", err)
	}
	s.topic = ""
}
