package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/procd/procd/topology"
)

// savepointWorkload takes savepoints of a counting job under a load, stops it
// with the second one, and starts it from that.
type savepointWorkload struct {
	*workload
	perSecond float64
}

var savepoints = []savepointWorkload{
	{&workload{name: "savepoint-1m", kind: kindCount, job: countJob, model: countModel, weigh: weighCount,
		input: &input{name: "savepoint-1m", keys: 1_000_000, bytes: 16, first: true}}, 50_000},
	{&workload{name: "savepoint-2g", kind: kindCount, job: lastJob, model: countModel, weigh: weighCount,
		input: &input{name: "savepoint-2g", keys: 2_000_000, bytes: 1 << 10, first: true, random: true}}, 5_000},
}

// last is a state of the size of a value.
type last struct {
	N     int64  `avro:"n"`
	Value []byte `avro:"value"`
}

// lastJob counts and keeps the last value of each key.
func lastJob(name, in, out string) *topology.Job {
	return countingJob(name, in, out, func(c topology.Ctx[last, int64], v []byte) {
		n := c.State().N + 1
		c.Set(last{n, v})
		c.Emit(n)
	})
}

// The figures of savepoints.
const (
	savepointSeconds = "savepoint_s"
	savepointBytes   = "savepoint_bytes"
	pause            = "pause_ms"
	dip              = "slowest_half_second" // share of the load
	standstill       = "longest_without_commit_ms"
	stopSeconds      = "stop_s"
	stopPause        = "stop_pause_ms"
	startSeconds     = "start_s"
	gap              = "gap_s"
)

var savepointColumns = []column{
	{"filled at", fillRate, in(1e3, "%.0f k/s")},
	{"savepoint", savepointSeconds, in(1, "%.2f s")},
	{"bytes", savepointBytes, in(1e6, "%.0f MB")},
	{"pause", pause, in(1, "%.0f ms")},
	{"no commit for", standstill, in(1, "%.0f ms")},
	{"slowest 0.5 s", dip, func(s spread) string { return fmt.Sprintf("%.0f %%", s.Median*100) }},
	{"with stop", stopSeconds, in(1, "%.2f s")},
	{"start from it", startSeconds, in(1, "%.2f s")},
	{"gap", gap, in(1, "%.2f s")},
	{"peak RSS", peakRSS, in(1e6, "%.0f MB")},
}

func (s *session) measureSavepoint(ctx context.Context, w savepointWorkload) error {
	topic, err := s.preloadedAtLeast(ctx, w.input)
	if err != nil {
		return err
	}
	r, err := s.b.newRun(ctx, procdEngine, w.workload, topic, commitInterval)
	if err != nil {
		return err
	}
	defer s.b.remove(r)
	f, err := s.underLoad(ctx, r, w.perSecond, func(ctx context.Context, r *run, f figures) error {
		return s.savepoints(ctx, r, f, w.perSecond)
	})
	if err != nil {
		return s.void(ctx, w.workload, procdEngine, err)
	}
	fmt.Fprintf(os.Stderr, "%-11s savepoint %.2f s, %.0f MB, pause %.0f ms; start from it %.2f s, gap %.2f s\n", w.name, f[savepointSeconds], f[savepointBytes]/1e6, f[pause], f[startSeconds], f[gap])
	s.report.add(w.name, procdEngine.name, s.size, f)
	return nil
}

// savepoints takes one while the job goes on, then one that stops it, and
// starts the job from that.
func (s *session) savepoints(ctx context.Context, r *run, f figures, perSecond float64) error {
	const steady = 2 // seconds
	if _, err := s.b.waitConsumed(ctx, r, int64(float64(s.size)+steady*perSecond)); err != nil {
		return err
	}
	watch := s.b.watch(ctx, r)
	one, err := r.savepoint(ctx, "savepoint")
	progress := watch()
	if err != nil {
		return err
	}
	f[savepointSeconds], f[savepointBytes], f[pause] = one.seconds(), float64(one.Bytes), float64(one.PauseMillis)
	f[dip], f[standstill] = progress.slowest(500*time.Millisecond)/perSecond, float64(progress.longest().Milliseconds())

	f[peakRSS] = peakBytes(r.proc.PID())
	two, err := r.savepoint(ctx, "savepoint-and-stop")
	if err != nil {
		return err
	}
	f[stopSeconds], f[stopPause] = two.seconds(), float64(two.PauseMillis)
	if code, err := r.proc.Wait(ctx); err != nil || code != 0 {
		return fmt.Errorf("the stopped engine: exit code %d, %w", code, err)
	}
	consumed, err := s.b.consumed(ctx, r)
	if err != nil {
		return err
	}
	if err := r.start("--savepoint", two.ID); err != nil {
		return err
	}
	at, err := s.b.waitConsumed(ctx, r, consumed)
	f[startSeconds] = at.Sub(r.proc.Started()).Seconds()
	f[gap] = at.Sub(two.Finished).Seconds() + float64(two.PauseMillis)/1000
	return err
}

// taken is what the command prints of a savepoint.
type taken struct {
	ID                string
	Saved, Stopped    bool
	Reason            string
	Bytes             int64
	PauseMillis       int64 `json:"pause_ms"`
	Started, Finished time.Time
}

func (t taken) seconds() float64 { return t.Finished.Sub(t.Started).Seconds() }

// savepoint runs procd's command.
func (r *run) savepoint(ctx context.Context, name string) (t taken, err error) {
	command := procdCommand(r, name, "--json", "--timeout", "5m")
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err == nil {
		err = json.Unmarshal(out, &t)
	}
	if err == nil && !t.Saved {
		err = errors.New(t.Reason)
	}
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return t, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// progress is how far a run was at each moment that it was looked at.
type progress []sample

// watch looks at a run all the time until the returned function is called.
func (b *broker) watch(ctx context.Context, r *run) (stop func() progress) {
	ctx, cancel := context.WithCancel(ctx)
	var seen progress
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			if n, err := b.consumed(ctx, r); err == nil {
				seen = append(seen, sample{at: time.Now(), consumed: n})
			}
			<-tick.C
		}
	})
	return func() progress {
		cancel()
		wait.Wait()
		return seen
	}
}

// slowest is the lowest rate, in records per second, over any time so long.
func (p progress) slowest(window time.Duration) float64 {
	least, from := -1.0, 0
	for i := range p {
		for p[i].at.Sub(p[from].at) > window {
			from++
		}
		if from == 0 {
			continue
		}
		// From one sample before: at least as long as the window.
		before := p[from-1]
		if rate := float64(p[i].consumed-before.consumed) / p[i].at.Sub(before.at).Seconds(); least < 0 || rate < least {
			least = rate
		}
	}
	return max(least, 0)
}

// longest is the longest time in which nothing was committed.
func (p progress) longest() (d time.Duration) {
	for i, from := 0, 0; i < len(p); i++ {
		if p[i].consumed > p[from].consumed {
			d = max(d, p[i].at.Sub(p[from].at))
			from = i
		}
	}
	return d
}
