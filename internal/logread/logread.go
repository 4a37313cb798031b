// Package logread reads parts of topic partitions to their ends, by committed
// transactions only: what restoring and looking up positions have in common.
package logread

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Part is a part of one topic partition.
type Part struct {
	Topic     string
	Partition int32
	From, To  int64 // To: at most the high watermark, read uncommitted (S3)
	// Apply takes each record, in order; an error ends the reading.
	Apply func(*kgo.Record) error
	// Applied, if set, is told now and then how many records Apply took since.
	Applied func(n int)
	// next is the offset to read next; at the end it is >= To. Others may look
	// at it while the part is read.
	next atomic.Int64
}

// Remaining is how many offsets are still to be read. Any goroutine may ask.
func (p *Part) Remaining() int64 { return max(p.To-max(p.next.Load(), p.From), 0) }

// stallAfter is how long a read waits for its next record before it suspects
// a dead worker's open transaction in the way (T4).
const stallAfter = 300 * time.Millisecond

// Read reads all parts to their ends; no two may be of one partition. It
// compares the consumer's position with the end, counting control records,
// since the last offsets of a log belong to commit markers (S2). stalled is
// called each time nothing came for a while; it may remove what is in the way.
// opts are those of a client of the cluster.
func Read(ctx context.Context, opts []kgo.Opt, stalled func(context.Context) error, parts ...*Part) error {
	open := map[string]map[int32]*Part{}
	offsets := map[string]map[int32]kgo.Offset{}
	left := 0
	for _, p := range parts {
		p.next.Store(p.From)
		if p.From >= p.To {
			continue
		}
		if open[p.Topic] == nil {
			open[p.Topic] = map[int32]*Part{}
			offsets[p.Topic] = map[int32]kgo.Offset{}
		}
		open[p.Topic][p.Partition] = p
		offsets[p.Topic][p.Partition] = kgo.NewOffset().At(p.From)
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
		return fmt.Errorf("procd/logread: %w", err)
	}
	defer cl.Close()
	for left > 0 {
		done, idle, err := poll(ctx, cl, open)
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

// poll applies one fetch. It returns how many parts came to their end, and
// whether nothing came for [stallAfter].
func poll(ctx context.Context, cl *kgo.Client, open map[string]map[int32]*Part) (done int, idle bool, err error) {
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
		part := open[p.Topic][p.Partition]
		if err != nil || part == nil {
			return
		}
		if p.Err != nil && !errors.Is(p.Err, context.DeadlineExceeded) {
			err = fmt.Errorf("procd/logread: %s partition %d: %w", p.Topic, p.Partition, p.Err)
			return
		}
		var finished bool
		if finished, err = part.take(p.Records); finished {
			delete(open[p.Topic], p.Partition)
			cl.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
			done++
		}
	})
	return done, false, err
}

// take applies records below the end and reports whether the end is reached.
func (p *Part) take(records []*kgo.Record) (finished bool, err error) {
	next, applied := p.next.Load(), 0
	for _, rec := range records {
		if rec.Offset >= p.To {
			next = p.To
			break
		}
		if !rec.Attrs.IsControl() {
			if err := p.Apply(rec); err != nil {
				return false, err
			}
			applied++
		}
		next = rec.Offset + 1
	}
	// Once per fetch: what others look at costs more than most records do.
	p.next.Store(next)
	if p.Applied != nil {
		p.Applied(applied)
	}
	return next >= p.To, nil
}
