package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pollEvery is how often a condition on the broker is asked for.
const pollEvery = 100 * time.Millisecond

// Reader reads whole topics with read_committed, from their start and for as
// long as it is open, and keeps every record. It sees what a user's consumer
// sees, during faults too.
type Reader struct {
	cl   *kgo.Client
	done chan struct{}
	stop context.CancelFunc

	mu        sync.Mutex
	records   []*kgo.Record
	positions kadm.Offsets // the next offset of each partition, markers counted
	err       error
	changed   chan struct{} // closed and replaced at each poll
}

// NewReader starts reading topics, which must exist.
func (c *Cluster) NewReader(topics ...string) (*Reader, error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(c.Brokers...),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last offset of a partition is a marker: without it the end is never reached
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Reader{cl: cl, done: make(chan struct{}), stop: stop, positions: kadm.Offsets{}, changed: make(chan struct{})}
	go r.run(ctx)
	return r, nil
}

func (r *Reader) run(ctx context.Context) {
	defer close(r.done)
	for ctx.Err() == nil {
		r.take(r.cl.PollFetches(ctx))
	}
}

// take keeps what a poll brought. An error of a fetch stays: a reader that
// lost its place proves nothing any more.
func (r *Reader) take(fetches kgo.Fetches) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrClientClosed) {
			r.err = cmp.Or(r.err, fmt.Errorf("procd/kafkatest: reading %s/%d: %w", topic, partition, err))
		}
	})
	fetches.EachRecord(func(rec *kgo.Record) {
		r.positions.AddOffset(rec.Topic, rec.Partition, rec.Offset+1, -1)
		if !rec.Attrs.IsControl() {
			r.records = append(r.records, rec)
		}
	})
	close(r.changed)
	r.changed = make(chan struct{})
}

// Close ends the reader; its records stay readable.
func (r *Reader) Close() {
	r.stop()
	<-r.done
	r.cl.Close()
}

// Records are the records read so far, each partition in order.
func (r *Reader) Records() []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// Count is the number of records read so far.
func (r *Reader) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.records)
}

// Wait waits until done returns true for the records read so far.
func (r *Reader) Wait(ctx context.Context, done func([]*kgo.Record) bool) error {
	return r.wait(ctx, func() error {
		if done(r.records) {
			return nil
		}
		return fmt.Errorf("procd/kafkatest: %d records read, waiting for more", len(r.records))
	})
}

// ReachEnds waits until every partition is read up to the given offsets.
func (r *Reader) ReachEnds(ctx context.Context, ends kadm.ListedOffsets) error {
	return r.wait(ctx, func() (missing error) {
		ends.Each(func(end kadm.ListedOffset) {
			at, _ := r.positions.Lookup(end.Topic, end.Partition)
			if at.At < end.Offset {
				missing = fmt.Errorf("procd/kafkatest: %s/%d read to %d of %d", end.Topic, end.Partition, at.At, end.Offset)
			}
		})
		return missing
	})
}

func (r *Reader) wait(ctx context.Context, check func() error) error {
	for {
		r.mu.Lock()
		err, missing, changed := r.err, check(), r.changed
		r.mu.Unlock()
		if err != nil || missing == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", missing, ctx.Err())
		}
	}
}

// ReadAll returns all records of the topics with read_committed, up to their
// high watermarks as of now, sorted by topic, partition and offset. It waits
// for open transactions.
func (c *Cluster) ReadAll(ctx context.Context, topics ...string) ([]*kgo.Record, error) {
	ends, err := c.nonEmptyEnds(ctx, topics...)
	if err != nil {
		return nil, err
	}
	r, err := c.NewReader(topics...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.ReachEnds(ctx, ends); err != nil {
		return nil, err
	}
	records := r.Records()
	slices.SortFunc(records, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	// What came in after the ends were taken is left out, so that two calls
	// can be compared.
	return slices.DeleteFunc(records, func(rec *kgo.Record) bool {
		end, ok := ends.Lookup(rec.Topic, rec.Partition)
		return !ok || rec.Offset >= end.Offset
	}), nil
}

// nonEmptyEnds are the high watermarks of the partitions that hold anything.
func (c *Cluster) nonEmptyEnds(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
	ends, err := c.Admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	starts, err := c.Admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ends.Error(), starts.Error()); err != nil {
		return nil, err
	}
	starts.Each(func(start kadm.ListedOffset) {
		if end, _ := ends.Lookup(start.Topic, start.Partition); end.Offset == start.Offset {
			delete(ends[start.Topic], start.Partition)
		}
	})
	return ends, nil
}
