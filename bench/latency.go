package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// latencyWorkload is an open loop: what a reader of committed records sees of
// the count, at a share of the rate at which the same engine count10k it.
type latencyWorkload struct {
	*workload
	share  float64
	commit time.Duration
	only   *engine // nil: all
}

var latencies = []latencyWorkload{
	{named("latency-30", count10k), 0.3, commitInterval, nil},
	{named("latency-70", count10k), 0.7, commitInterval, nil},
	{&workload{name: "latency-30-20ms", kind: kindCount, input: small, yaml: countYAML(20 * time.Millisecond), model: countModel, weigh: weighCountJSON},
		0.3, 20 * time.Millisecond, procdEngine},
}

// named is a workload by another name.
func named(name string, w *workload) *workload {
	other := *w
	other.name = name
	return &other
}

// The figures of an open loop.
const (
	p50      = "p50_ms"
	p99      = "p99_ms"
	p999     = "p99_9_ms"
	longest  = "longest_ms"
	loadRate = "load_per_s"
	behind   = "load_behind_ms"
)

var latencyColumns = []column{
	{"load/s", loadRate, in(1e3, "%.0f k")},
	{"p50", p50, in(1, "%.0f ms")},
	{"p99", p99, in(1, "%.0f ms")},
	{"p99.9", p999, in(1, "%.0f ms")},
	{"longest", longest, in(1, "%.0f ms")},
	{"writer late", behind, in(1, "%.0f ms")},
	{"CPU s/M", cpu, in(1, "%.2f")},
	{"broker s/M", brokerCPU, in(1, "%.2f")},
	{"peak RSS", peakRSS, in(1e6, "%.0f MB")},
}

// warmUp is how long the load runs before its latencies count.
const warmUp = 4 * time.Second

func (s *session) measureLatency(ctx context.Context, w latencyWorkload) error {
	for _, e := range s.engines {
		if w.only != nil && e != w.only {
			continue
		}
		base := s.report.find(count10k.name, e.name)
		if base == nil {
			fmt.Fprintf(os.Stderr, "%s %s: left out, it needs the rate of %s from the same run\n", w.name, e.name, count10k.name)
			continue
		}
		topic, err := s.empty(ctx, w.input)
		if err != nil {
			return err
		}
		r, err := s.b.newRun(ctx, e, w.workload, topic, w.commit)
		if err != nil {
			return err
		}
		f, err := s.openLoop(ctx, r, base.Figures[rate].Median*w.share)
		s.b.remove(r)
		if err != nil {
			if err := s.void(ctx, w.workload, e, err); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(os.Stderr, "%-11s %-11s %6.0f k rec/s  p50 %.0f ms  p99 %.0f ms  longest %.0f ms\n", w.name, e.name, f[loadRate]/1e3, f[p50], f[p99], f[longest])
		s.report.add(w.name, e.name, int(f[loadRate]*s.seconds), f)
	}
	return nil
}

// openLoop runs an engine under a steady load.
func (s *session) openLoop(ctx context.Context, r *run, perSecond float64) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute+time.Duration(s.seconds)*time.Second)
	defer cancel()
	if err := r.start(); err != nil {
		return nil, err
	}
	l, err := s.b.startLoad(r.in, r.w.input, 0, perSecond)
	if err != nil {
		return nil, err
	}
	f, sent, err := s.listen(ctx, r, l)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.b.follow(ctx, r, sent); err != nil {
		return nil, err
	}
	f[peakRSS] = peakBytes(r.proc.PID())
	f[loadRate] = perSecond
	if err := r.stop(); err != nil {
		return nil, err
	}
	return f, s.b.verify(ctx, r, r.w.model(r.w.input, sent))
}

// listen reads the output while the load goes on, and then ends the load.
func (s *session) listen(ctx context.Context, r *run, l *load) (f figures, sent int, err error) {
	f, err = s.b.listen(ctx, r, time.Duration(s.seconds*float64(time.Second)))
	sent, stopped := l.stop()
	if err := errors.Join(err, stopped); err != nil {
		return nil, 0, fmt.Errorf("%w\n%s", err, r.proc.Stderr.Tail(20))
	}
	f[behind] = float64(l.behind.Load()) / 1e6
	return f, sent, nil
}

// listen waits for the first commit and for the warm-up to pass, and then notes
// how old the records are that a reader of committed records is given.
func (b *broker) listen(ctx context.Context, r *run, during time.Duration) (figures, error) {
	if _, err := b.waitConsumed(ctx, r, 0); err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumeTopics(r.out),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var h histogram
	var before sample
	from := time.Now().Add(warmUp)
	ctx, cancel := context.WithDeadline(ctx, from.Add(during))
	defer cancel()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		now := time.Now()
		if now.Before(from) {
			continue
		}
		if h.n == 0 {
			before = b.sample(r, 0)
		}
		fetches.EachRecord(func(rec *kgo.Record) { h.add(now.Sub(rec.Timestamp)) })
	}
	if h.n == 0 {
		return nil, errors.New("no output was seen")
	}
	after, million := b.sample(r, 0), float64(h.n)/1e6
	return figures{
		p50: h.quantile(0.5), p99: h.quantile(0.99), p999: h.quantile(0.999), longest: h.quantile(1),
		cpu: (after.cpu - before.cpu) / million, brokerCPU: (after.broker - before.broker) / million,
	}, nil
}

// histogram counts latencies by the millisecond, which is as exact as Kafka's
// timestamps are.
type histogram struct {
	n     int
	count [120_000]int // the last for everything longer
}

func (h *histogram) add(d time.Duration) {
	h.n++
	h.count[min(max(int(d.Milliseconds()), 0), len(h.count)-1)]++
}

// quantile is the latency, in milliseconds, that a share q of the records does
// not exceed.
func (h *histogram) quantile(q float64) float64 {
	left := max(int(q*float64(h.n)), 1)
	for ms, n := range h.count {
		if left -= n; left <= 0 {
			return float64(ms)
		}
	}
	return float64(len(h.count))
}
