package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// largeWorkload drains a topic into a state that is several times as large as
// the memory: each key once, in order, and then half as many again at random,
// so that what is not in memory is read.
type largeWorkload struct {
	*workload
	memory string // setting; empty: the default
}

var larges = []largeWorkload{
	{largeOf("large-state-1m", 1_000_000), "128MiB"},
	{largeOf("large-state-10m", 10_000_000), ""},
}

func largeOf(name string, keys int) *workload {
	return &workload{name: name, kind: kindCount, job: lastJob, model: countModel, weigh: weighCount,
		input: &input{name: name, keys: keys, bytes: 1 << 10, first: true, random: true}}
}

// The figures of a large state beside those of a drain.
const (
	coldRate  = "cold_records_per_s"
	stall     = "longest_stall_ms"
	stateDisk = "state_disk_bytes"
)

var largeColumns = []column{
	{"filled at", fillRate, in(1e3, "%.0f k/s")},
	{"at random", coldRate, in(1e3, "%.0f k/s")},
	{"no commit for", stall, in(1, "%.0f ms")},
	{"state", stateDisk, in(1e6, "%.0f MB")},
	{"peak RSS", peakRSS, in(1e6, "%.0f MB")},
	{"changelog", changelog, in(1e6, "%.0f MB")},
}

func (s *session) measureLarge(ctx context.Context, w largeWorkload) error {
	records := w.input.keys + w.input.keys/2
	topic, err := s.preloaded(ctx, w.input, records)
	if err != nil {
		return err
	}
	f, err := s.once(ctx, procdEngine, w.workload, topic, func(r *run) (figures, error) { return s.b.large(ctx, r, w, records) })
	if err != nil {
		return s.void(ctx, w.workload, procdEngine, err)
	}
	fmt.Fprintf(os.Stderr, "%-11s filled at %.0f k/s, then %.0f k/s; no commit for %.0f ms, %.0f MB\n", w.name, f[fillRate]/1e3, f[coldRate]/1e3, f[stall], f[peakRSS]/1e6)
	s.report.add(w.name, procdEngine.name, records, f)
	return nil
}

func (b *broker) large(ctx context.Context, r *run, w largeWorkload, records int) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	var args []string
	if w.memory != "" {
		settings := filepath.Join(r.dir, "procd.yaml")
		if err := os.WriteFile(settings, []byte("memory: "+w.memory+"\n"), 0o644); err != nil {
			return nil, err
		}
		args = []string{"--config", settings}
	}
	if err := r.start(args...); err != nil {
		return nil, err
	}
	if _, err := b.waitConsumed(ctx, r, 0); err != nil {
		return nil, err
	}
	watch := b.watch(ctx, r)
	_, _, err := b.follow(ctx, r, records)
	progress := watch()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, r.proc.Stderr.Tail(20))
	}
	f := figures{peakRSS: peakBytes(r.proc.PID()), stall: float64(progress.longest().Milliseconds())}
	f[fillRate], f[coldRate] = progress.rates(int64(w.input.keys))
	if f[changelog], err = b.bytes(ctx, r.changelog); err != nil {
		return nil, err
	}
	if err := r.stop(); err != nil {
		return nil, err
	}
	if f[stateDisk], err = treeBytes(r.state()); err != nil {
		return nil, err
	}
	return f, b.verify(ctx, r, w.model(w.input, records))
}

// rates are the records per second up to so many records, and from there on.
func (p progress) rates(until int64) (before, after float64) {
	at := 0
	for at < len(p)-1 && p[at].consumed < until {
		at++
	}
	first, last := p[0], p[len(p)-1]
	between := func(a, b sample) float64 { return float64(b.consumed-a.consumed) / b.at.Sub(a.at).Seconds() }
	return between(first, p[at]), between(p[at], last)
}

// treeBytes is the size of all files in a directory and below it.
func treeBytes(dir string) (n float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += float64(info.Size())
		}
		return err
	})
	return n, err
}
