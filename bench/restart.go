package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/procd/procd/internal/kafkatest"
)

// A restart counts keys under a load, kills the engine with -9, and starts it
// again: with its disk, and without.
type restartWorkload struct {
	*workload
	peers bool // whether others than procd run it too
}

var restarts = []restartWorkload{restartOf("restart-1m", 1_000_000, true), restartOf("restart-10m", 10_000_000, false)}

func restartOf(name string, keys int, peers bool) restartWorkload {
	in := &input{name: name, keys: keys, bytes: 16, first: true}
	return restartWorkload{&workload{name: name, kind: kindCount, input: in, job: countJob, model: countModel, weigh: weighCount}, peers}
}

// The figures of a restart. Times are from the start of the process to its
// first commit of new output.
const (
	fillRate    = "fill_records_per_s"
	diskKept    = "disk_kept_s"
	diskLost    = "disk_lost_s"
	restoreRate = "restore_records_per_s"
)

var restartColumns = []column{
	{"filled at", fillRate, in(1e3, "%.0f k/s")},
	{"disk kept", diskKept, in(1, "%.2f s")},
	{"disk lost", diskLost, in(1, "%.2f s")},
	{"restored at", restoreRate, in(1e3, "%.0f k/s")},
	{"peak RSS", peakRSS, in(1e6, "%.0f MB")},
	{"changelog", changelog, in(1e6, "%.0f MB")},
}

// steadyLoad is the load, in records per second, while something happens.
const steadyLoad = 20_000

func (s *session) measureRestart(ctx context.Context, w restartWorkload) error {
	for _, e := range s.engines {
		// The bare loop does not survive.
		if e == bareEngine || e != procdEngine && !w.peers {
			continue
		}
		topic, err := s.preloadedAtLeast(ctx, w.input)
		if err != nil {
			return err
		}
		r, err := s.b.newRun(ctx, e, w.workload, topic, commitInterval)
		if err != nil {
			return err
		}
		f, err := s.restart(ctx, r)
		s.b.remove(r)
		if err != nil {
			s.unload() // it may hold more than is known
			if err := s.void(ctx, w.workload, e, err); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(os.Stderr, "%-11s %-11s disk kept %.2f s, lost %.2f s (%.0f k/s)\n", w.name, e.name, f[diskKept], f[diskLost], f[restoreRate]/1e3)
		s.report.add(w.name, e.name, s.size, f)
	}
	return nil
}

func (s *session) restart(ctx context.Context, r *run) (figures, error) {
	f, err := s.underLoad(ctx, r, steadyLoad, s.crashes)
	if err != nil {
		return nil, err
	}
	f[changelog], err = s.b.bytes(ctx, r.changelog)
	return f, err
}

// underLoad lets an engine fill its state, then does something to it under a
// load, and verifies the output of all of it.
func (s *session) underLoad(ctx context.Context, r *run, perSecond float64, do func(context.Context, *run, figures) error) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := r.start(); err != nil {
		return nil, err
	}
	first, last, err := s.b.follow(ctx, r, s.size)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, r.proc.Stderr.Tail(20))
	}
	f := figures{fillRate: float64(last.consumed-first.consumed) / last.at.Sub(first.at).Seconds()}
	l, err := s.b.startLoad(r.in, r.w.input, s.size, perSecond)
	if err != nil {
		return nil, err
	}
	err = do(ctx, r, f)
	end, stopped := l.stop()
	s.size = end // the next engine finds these records too
	if err := errors.Join(err, stopped); err != nil {
		return nil, err
	}
	if _, _, err := s.b.follow(ctx, r, end); err != nil {
		return nil, err
	}
	f[peakRSS] = max(f[peakRSS], peakBytes(r.proc.PID()))
	if err := r.stop(); err != nil {
		return nil, err
	}
	return f, s.b.verify(ctx, r, r.w.model(r.w.input, end))
}

// crashes kills the engine twice while the load goes on.
func (s *session) crashes(ctx context.Context, r *run, f figures) error {
	if _, err := s.b.waitConsumed(ctx, r, int64(s.size+steadyLoad)); err != nil {
		return err
	}
	took, err := s.crash(ctx, r, func() error { return nil })
	if err != nil {
		return err
	}
	f[diskKept] = took.Seconds()
	if r.e == flinkRocksDB || r.e == flinkHeap {
		return nil // its checkpoints are what it has; they are not meant to be lost
	}
	var changes float64
	took, err = s.crash(ctx, r, func() (err error) {
		if err := os.RemoveAll(r.state()); err != nil {
			return err
		}
		if err := s.b.left(ctx, r); err != nil {
			return err
		}
		changes, err = s.b.records(ctx, r.changelog)
		return err
	})
	if err != nil {
		return err
	}
	f[diskLost], f[restoreRate] = took.Seconds(), changes/took.Seconds()
	return nil
}

// crash kills the engine, does something to it, starts it again and returns how
// long it took to its first commit.
func (s *session) crash(ctx context.Context, r *run, meanwhile func() error) (time.Duration, error) {
	r.proc.Kill()
	consumed, err := s.b.quiet(ctx, r)
	if err != nil {
		return 0, err
	}
	if err := meanwhile(); err != nil {
		return 0, err
	}
	if err := r.start(); err != nil {
		return 0, err
	}
	at, err := s.b.waitConsumed(ctx, r, consumed)
	return at.Sub(r.proc.Started()), err
}

// left waits until the group has no member: a process without its disk is
// another one, and would wait for the session timeout of the dead.
func (b *broker) left(ctx context.Context, r *run) error {
	return kafkatest.Until(ctx, 100*time.Millisecond, func() error {
		groups, err := b.Admin.DescribeGroups(ctx, r.group())
		if err != nil {
			return err
		}
		if g := groups[r.group()]; len(g.Members) > 0 {
			return errStill
		}
		return nil
	})
}

// records is how many offsets the topics hold.
func (b *broker) records(ctx context.Context, keep func(string) bool) (n float64, err error) {
	topics, err := b.topicsOf(ctx, keep)
	if err != nil || len(topics) == 0 {
		return 0, err
	}
	ends, err := b.Admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	starts, err := b.Admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	ends.Each(func(o kadm.ListedOffset) { n += float64(o.Offset) })
	starts.Each(func(o kadm.ListedOffset) { n -= float64(o.Offset) })
	return n, nil
}
