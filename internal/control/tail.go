package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Tail reads the control topic all the time, read_committed and from the
// start. A process has one; any goroutine may call its methods.
type Tail struct {
	cl    *kgo.Client
	adm   *kadm.Client
	topic string

	view atomic.Pointer[View]
	done chan struct{} // closed when the reading goroutine has ended

	mu       sync.Mutex
	position int64         // offset of the next record
	err      error         // why reading ended for good
	changed  chan struct{} // closed and replaced whenever position or err changes
}

// errTailClosed says that the process is on its way out.
var errTailClosed = errors.New("procd/control: closed")

// newTail begins to read; the topic must exist. cl must consume nothing else.
func newTail(ctx context.Context, cl *kgo.Client, topic string) *Tail {
	t := &Tail{
		cl: cl, adm: kadm.NewClient(cl), topic: topic,
		done: make(chan struct{}), changed: make(chan struct{}),
	}
	t.view.Store(&View{})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
	go t.run(ctx)
	return t
}

// View is a snapshot: what has been read so far. It costs nothing.
func (t *Tail) View() *View { return t.view.Load() }

// Changed returns a channel that is closed when something was read after the
// call. To miss nothing, call it before [Tail.View].
func (t *Tail) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Err is why the tail stopped reading for good, or nil: the topic was deleted
// or holds a record that this version must not ignore.
func (t *Tail) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// ReadToEnd waits until everything that was in the topic when it was called
// is in the View (P2).
//
// The end is the high watermark: the end that read_committed readers see can
// lag behind a transaction whose commit was already acknowledged (S3). So a
// deciding transaction that is open delays the answer until it ends, at most
// by its timeout.
func (t *Tail) ReadToEnd(ctx context.Context) error {
	end, err := t.end(ctx)
	if err != nil {
		return err
	}
	for {
		t.mu.Lock()
		position, failed, changed := t.position, t.err, t.changed
		t.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case position >= end:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("procd/control: read %s to its end (offset %d of %d): %w", t.topic, position, end, context.Cause(ctx))
		}
	}
}

// hearTime is how long a broker may take to hear of a topic that was created: it
// makes the logs of all that were created before, which are many for a job with
// many partitions.
const hearTime = 30 * time.Second

// end is the high watermark. A topic that was created a moment ago may be
// unknown to the broker that is asked, or to the client's cache.
func (t *Tail) end(ctx context.Context) (int64, error) {
	for giveUp := time.Now().Add(hearTime); ; {
		end, err := t.listEnd(ctx)
		if !errors.Is(err, ErrTopicMissing) || time.Now().After(giveUp) {
			return end, err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (t *Tail) listEnd(ctx context.Context) (int64, error) {
	listed, err := t.adm.ListEndOffsets(ctx, t.topic)
	if err != nil {
		return 0, fmt.Errorf("procd/control: end of %s: %w", t.topic, err)
	}
	o, ok := listed.Lookup(t.topic, 0)
	if !ok || errors.Is(o.Err, kerr.UnknownTopicOrPartition) {
		return 0, fmt.Errorf("%w: %s", ErrTopicMissing, t.topic)
	}
	if o.Err != nil {
		return 0, fmt.Errorf("procd/control: end of %s: %w", t.topic, o.Err)
	}
	return o.Offset, nil
}

func (t *Tail) run(ctx context.Context) {
	defer close(t.done)
	for {
		fetches := t.cl.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			t.fail(errTailClosed)
			return
		}
		// What kgo hands out is what it cannot get over by itself.
		if err := fetches.Err(); err != nil {
			t.fail(fmt.Errorf("procd/control: read %s: %w", t.topic, err))
			return
		}
		if err := t.apply(fetches); err != nil {
			t.fail(err)
			return
		}
	}
}

// apply makes a batch of records one step of the View.
//
// The position is the last record's offset plus one, control records included
// (S2). Compaction never takes the log's last record, which is in the active
// segment, so the position does reach the end.
func (t *Tail) apply(fetches kgo.Fetches) error {
	next := t.view.Load().clone()
	position := int64(0)
	for iter := fetches.RecordIter(); !iter.Done(); {
		r := iter.Next()
		position = r.Offset + 1
		if r.Attrs.IsControl() {
			continue
		}
		if err := next.Apply(r.Key, r.Value); err != nil {
			return fmt.Errorf("%w (%s, offset %d)", err, t.topic, r.Offset)
		}
	}
	if position == 0 {
		return nil
	}
	t.view.Store(next)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.position = position
	t.wake()
	return nil
}

func (t *Tail) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
	t.wake()
}

// wake tells everybody who waits; t.mu is held.
func (t *Tail) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}
