package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// partitions of every topic.
const partitions = 4

// broker is the Kafka that everything runs on.
type broker struct {
	*kafkatest.Cluster
	pid  int // 0: it is somebody else's, whose CPU time is not known
	addr string
}

// newRun makes an engine ready to start on a topic, with fresh output topics.
func (b *broker) newRun(ctx context.Context, e *engine, w *workload, in string, commit time.Duration) (*run, error) {
	dir, err := os.MkdirTemp("", "procd-bench-")
	if err != nil {
		return nil, err
	}
	job := fmt.Sprintf("bench-%s-%x", w.name, time.Now().UnixNano()&0xffffffffff)
	r := &run{e: e, w: w, job: job, in: in, out: job + "-out", brokers: b.addr, dir: dir, commit: commit}
	if w.yaml != nil {
		if err := os.WriteFile(r.file(), []byte(w.yaml(job, in, r.out)), 0o644); err != nil {
			return nil, err
		}
	}
	topics := []string{r.out}
	if e.topics != nil {
		topics = append(topics, e.topics(r)...)
	}
	for _, t := range topics {
		if err := b.CreateTopic(ctx, t, partitions, nil); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// remove removes what a run leaves behind.
func (b *broker) remove(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if r.proc != nil && r.proc.Running() {
		r.proc.Kill()
	}
	topics, err := b.topicsOf(ctx, func(topic string) bool { return strings.Contains(topic, r.job) })
	if err == nil {
		_, err = b.Admin.DeleteTopics(ctx, topics...)
	}
	if err == nil {
		_, err = b.Admin.DeleteGroup(ctx, r.group())
		if errors.Is(err, kerr.NonEmptyGroup) { // of a member that was killed, for its session timeout
			err = nil
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: cleaning up:", err)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench: cleaning up:", err)
	}
}

func (b *broker) topicsOf(ctx context.Context, keep func(string) bool) ([]string, error) {
	all, err := b.TopicsOf(ctx, "")
	return slices.DeleteFunc(all, func(t string) bool { return !keep(t) }), err
}

// consumed is how many records of the input a run has committed.
func (b *broker) consumed(ctx context.Context, r *run) (int64, error) {
	offsets, err := b.Admin.FetchOffsets(ctx, r.group())
	if err != nil {
		return 0, err
	}
	n := int64(0)
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == r.in && o.Err == nil && o.At > 0 {
			n += o.At
		}
	})
	return n, nil
}

// emptied is nil when a run has committed the end of its repartition topics.
func (b *broker) emptied(ctx context.Context, r *run) error {
	topics, err := b.topicsOf(ctx, r.repartition)
	if err != nil || len(topics) == 0 {
		return err
	}
	return b.NoLag(ctx, r.group(), topics...)
}

// bytes are the sizes of the topics' logs on the broker's disk.
func (b *broker) bytes(ctx context.Context, keep func(string) bool) (float64, error) {
	dirs, err := b.Admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return 0, err
	}
	n := int64(0)
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if keep(p.Topic) {
				n += p.Size
			}
		})
	})
	return float64(n), nil
}

// verifyWait bounds the wait for transactions that are still open when a run
// has committed its input.
const verifyWait = 30 * time.Second

// verify reads the whole output, committed only, and compares it with the
// model.
func (b *broker) verify(ctx context.Context, r *run, want tally) error {
	settled, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	if err := kafkatest.Until(settled, 20*time.Millisecond, func() error { return b.Settled(settled, r.out) }); err != nil {
		return err
	}
	got, err := b.read(ctx, r)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("void: %s wrote %v, the model says %v", r.e.name, got, want)
	}
	return nil
}

// read sums up the output as it is.
func (b *broker) read(ctx context.Context, r *run) (t tally, err error) {
	ends, err := b.Admin.ListCommittedOffsets(ctx, r.out)
	if err != nil {
		return t, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumeTopics(r.out), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(4<<20))
	if err != nil {
		return t, err
	}
	defer cl.Close()
	for len(left) > 0 && ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return t, err
		}
		var bad error
		fetches.EachRecord(func(rec *kgo.Record) {
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
			if rec.Attrs.IsControl() || bad != nil {
				return
			}
			var weight uint64
			if weight, bad = r.w.weigh(rec.Value); bad == nil {
				t.add(rec.Key, weight)
			}
		})
		if bad != nil {
			return t, fmt.Errorf("void: %s wrote: %w", r.e.name, bad)
		}
	}
	return t, ctx.Err()
}

// cpuSeconds is the CPU time that a process has taken, of all its threads.
func cpuSeconds(pid int) float64 {
	if pid == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The command's name, in parentheses, may hold blanks.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const utime, stime, hertz = 11, 12, 100
	var user, system float64
	fmt.Sscan(fields[utime], &user)
	fmt.Sscan(fields[stime], &system)
	return (user + system) / hertz
}

// peakBytes is the largest resident size that a running process ever had.
func peakBytes(pid int) float64 { return statusBytes(pid, "VmHWM:") }

func statusBytes(pid int, field string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			var kib float64
			fmt.Sscan(rest, &kib)
			return kib * 1024
		}
	}
	return 0
}
