package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

// figures are what one run measured, by name.
type figures map[string]float64

// The figures of a drain. docs: README.md.
const (
	rate        = "records_per_s"
	megabytes   = "mb_per_s"
	cpu         = "cpu_s_per_m"
	brokerCPU   = "broker_cpu_s_per_m"
	peakRSS     = "peak_rss_bytes"
	changelog   = "changelog_bytes"
	firstCommit = "first_commit_s"
)

// sample is how far a run is at a moment.
type sample struct {
	at          time.Time
	consumed    int64
	cpu, broker float64
}

func (b *broker) sample(r *run, consumed int64) sample {
	return sample{time.Now(), consumed, cpuSeconds(r.proc.PID()), cpuSeconds(b.pid)}
}

// sampleEvery is how often the broker is asked how far a run is.
const sampleEvery = 10 * time.Millisecond

// drain lets an engine work off a topic of so many records and measures it from
// its first commit to its last. The output is checked.
func (b *broker) drain(ctx context.Context, r *run, records int, want tally) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := r.start(); err != nil {
		return nil, err
	}
	first, last, err := b.follow(ctx, r, records)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", r.e.name, err, r.proc.Stderr.Tail(20))
	}
	f := figures{peakRSS: peakBytes(r.proc.PID()), firstCommit: first.at.Sub(r.proc.Started()).Seconds()}
	if f[changelog], err = b.bytes(ctx, r.changelog); err != nil {
		return nil, err
	}
	if err := r.stop(); err != nil {
		return nil, err
	}
	if first.consumed == last.consumed { // one commit did it all
		first = sample{at: r.proc.Started()}
	}
	n := float64(last.consumed - first.consumed)
	f[rate] = n / last.at.Sub(first.at).Seconds()
	f[megabytes] = f[rate] * r.w.input.size() / 1e6
	f[cpu] = (last.cpu - first.cpu) / n * 1e6
	if b.pid != 0 {
		f[brokerCPU] = (last.broker - first.broker) / n * 1e6
	}
	return f, b.verify(ctx, r, want)
}

// follow waits until a run has committed all its input and returns how it stood
// after its first commit and after its last.
func (b *broker) follow(ctx context.Context, r *run, records int) (first, last sample, err error) {
	err = kafkatest.Until(ctx, sampleEvery, func() error {
		if !r.proc.Running() {
			return kafkatest.Permanent(fmt.Errorf("it ended by itself"))
		}
		n, err := b.consumed(ctx, r)
		if err != nil {
			return err
		}
		if first.consumed == 0 && n > 0 {
			first = b.sample(r, n)
		}
		if n < int64(records) {
			return fmt.Errorf("%d of %d records committed", n, records)
		}
		if err := b.emptied(ctx, r); err != nil {
			return err
		}
		last = b.sample(r, n)
		return nil
	})
	return first, last, err
}

// measureDrains runs the engines over one workload, round by round, so that all
// of them see the same machine.
func (s *session) measureDrains(ctx context.Context, w *workload) error {
	topic, err := s.preloaded(ctx, w.input, s.records)
	if err != nil {
		return err
	}
	want := w.model(w.input, s.records)
	drain := func(r *run) (figures, error) { return s.b.drain(ctx, r, s.records, want) }
	if !s.warm {
		// A fresh broker compiles itself while it serves its first engine, for up
		// to twice the CPU time.
		s.warm = true
		if _, err := s.once(ctx, s.engines[0], w, topic, drain); err != nil {
			if err := s.void(ctx, w, s.engines[0], err); err != nil {
				return err
			}
		}
	}
	for round := range max(s.runs, s.peerRuns) {
		for _, e := range s.engines {
			if w.peersOf != "" && e != procdEngine || round >= s.runsOf(e) {
				continue
			}
			f, err := s.once(ctx, e, w, topic, drain)
			if err != nil {
				if err := s.void(ctx, w, e, err); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(os.Stderr, "%-11s %-11s %6.0f k rec/s  %5.2f CPU s/M  %4.0f MB\n", w.name, e.name, f[rate]/1e3, f[cpu], f[peakRSS]/1e6)
			s.report.add(w.name, e.name, s.records, f)
		}
	}
	return nil
}

// once runs an engine once, and cleans up.
func (s *session) once(ctx context.Context, e *engine, w *workload, topic string, measure func(*run) (figures, error)) (figures, error) {
	r, err := s.b.newRun(ctx, e, w, topic, commitInterval)
	if err != nil {
		return nil, err
	}
	defer s.b.remove(r)
	if s.profiles != "" {
		r.profile = filepath.Join(s.profiles, w.name+"-"+e.name+".pprof")
	}
	return measure(r)
}
