package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// logRead is a part of one internal topic partition that is read to its end,
// by committed transactions only.
type logRead struct {
	topic     string
	partition int32
	from, to  int64 // to: the high watermark, read uncommitted (S3)
	apply     func(*kgo.Record) error
	// next is the offset to read next; at the end it is >= to. Others may look
	// at it while the part is read.
	next atomic.Int64
}

// remaining is how many offsets are still to be read.
func (r *logRead) remaining() int64 { return max(r.to-max(r.next.Load(), r.from), 0) }

// stallAfter is how long a read waits for its next record before it suspects
// a dead worker's open transaction in the way (T4).
const stallAfter = 300 * time.Millisecond

// readLogs reads all parts to their ends. It compares the consumer's position
// with the end, counting control records, since the last offsets of a log
// belong to commit markers (S2). stalled is called each time nothing came for
// a while; it may remove what is in the way.
func readLogs(ctx context.Context, opts []kgo.Opt, stalled func(context.Context) error, reads ...*logRead) error {
	open := map[string]map[int32]*logRead{}
	offsets := map[string]map[int32]kgo.Offset{}
	left := 0
	for _, r := range reads {
		r.next.Store(r.from)
		if r.from >= r.to {
			continue
		}
		if open[r.topic] == nil {
			open[r.topic] = map[int32]*logRead{}
			offsets[r.topic] = map[int32]kgo.Offset{}
		}
		open[r.topic][r.partition] = r
		offsets[r.topic][r.partition] = kgo.NewOffset().At(r.from)
		left++
	}
	if left == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.ConsumePartitions(offsets),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset().AtStart()), // O1
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		return fmt.Errorf("procd/engine: reading internal topics: %w", err)
	}
	defer cl.Close()
	for left > 0 {
		done, idle, err := pollLogs(ctx, cl, open)
		if err != nil {
			return err
		}
		left -= done
		if idle {
			if err := stalled(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// pollLogs applies one fetch. It returns how many parts came to their end, and
// whether nothing came for [stallAfter].
func pollLogs(ctx context.Context, cl *kgo.Client, open map[string]map[int32]*logRead) (done int, idle bool, err error) {
	pctx, cancel := context.WithTimeout(ctx, stallAfter)
	fetches := cl.PollFetches(pctx)
	cancel()
	if ctx.Err() != nil {
		return 0, false, ctx.Err()
	}
	if fetches.NumRecords() == 0 && pctx.Err() != nil {
		return 0, true, nil
	}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		r := open[p.Topic][p.Partition]
		if err != nil || r == nil {
			return
		}
		if p.Err != nil && !errors.Is(p.Err, context.DeadlineExceeded) {
			err = fmt.Errorf("procd/engine: reading %s partition %d: %w", p.Topic, p.Partition, p.Err)
			return
		}
		var finished bool
		if finished, err = r.take(p.Records); finished {
			delete(open[p.Topic], p.Partition)
			cl.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
			done++
		}
	})
	return done, false, err
}

// take applies records below the end and reports whether the end is reached.
func (r *logRead) take(records []*kgo.Record) (finished bool, err error) {
	for _, rec := range records {
		if rec.Offset >= r.to {
			r.next.Store(r.to)
			return true, nil
		}
		if !rec.Attrs.IsControl() {
			if err := r.apply(rec); err != nil {
				return false, err
			}
		}
		r.next.Store(rec.Offset + 1)
	}
	return r.next.Load() >= r.to, nil
}
