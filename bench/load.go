package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// load writes an input at a steady rate, whatever becomes of it: an open loop.
// Each record's Kafka timestamp is the moment it was due, so that time spent
// waiting for a slow broker counts too.
type load struct {
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}
	next   atomic.Int64 // the record to be written next
	behind atomic.Int64 // the most that the writer was late, in ns
	failed atomic.Pointer[error]
}

// loadTick is how often the writer looks for records that are due.
const loadTick = 2 * time.Millisecond

// startLoad writes the records of an input from number from on, so many per
// second.
func (b *broker) startLoad(topic string, in *input, from int, perSecond float64) (*load, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(200_000))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cl: cl, cancel: cancel, done: make(chan struct{})}
	l.next.Store(int64(from))
	go l.run(ctx, in, from, perSecond)
	return l, nil
}

func (l *load) run(ctx context.Context, in *input, from int, perSecond float64) {
	defer close(l.done)
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	started := time.Now()
	each := float64(time.Second) / perSecond
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(float64(time.Since(started)) / each); n < due && ctx.Err() == nil; n++ {
			at := started.Add(time.Duration(float64(n) * each))
			key, value := in.record(from + n)
			l.cl.Produce(context.Background(), &kgo.Record{Key: key, Value: value, Timestamp: at}, l.promise)
			l.behind.Store(max(l.behind.Load(), int64(time.Since(at))))
			l.next.Store(int64(from + n + 1))
		}
	}
}

func (l *load) promise(_ *kgo.Record, err error) {
	if err != nil {
		l.failed.CompareAndSwap(nil, &err)
	}
}

// stop ends the load and returns the number of the record after its last.
func (l *load) stop() (end int, err error) {
	l.cancel()
	<-l.done
	defer l.cl.Close()
	if err := l.cl.Flush(context.Background()); err != nil {
		return 0, err
	}
	if failed := l.failed.Load(); failed != nil {
		return 0, *failed
	}
	return int(l.next.Load()), nil
}

// errStill is what waits say of what is not there yet.
var errStill = errors.New("not there yet")

// waitConsumed waits until a run has committed more than so many records of its
// input, and returns when it was seen.
func (b *broker) waitConsumed(ctx context.Context, r *run, more int64) (time.Time, error) {
	err := kafkatest.Until(ctx, sampleEvery/2, func() error {
		if !r.proc.Running() {
			return kafkatest.Permanent(errors.New("it ended by itself\n" + r.proc.Stderr.Tail(20)))
		}
		if n, err := b.consumed(ctx, r); err != nil || n <= more {
			return errors.Join(err, errStill)
		}
		return nil
	})
	return time.Now(), err
}

// quiet waits until what a run has committed stands still, after it was killed,
// and returns it.
func (b *broker) quiet(ctx context.Context, r *run) (consumed int64, err error) {
	const still = 300 * time.Millisecond
	since, consumed := time.Now(), int64(-1)
	return consumed, kafkatest.Until(ctx, sampleEvery, func() error {
		n, err := b.consumed(ctx, r)
		if err != nil {
			return err
		}
		if n != consumed {
			since, consumed = time.Now(), n
		}
		if time.Since(since) < still {
			return errStill
		}
		return nil
	})
}
