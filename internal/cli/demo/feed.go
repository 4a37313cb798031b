package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	rooms      = 200
	feedEvery  = 10 * time.Millisecond
	feedEvents = 20 // each time: 2,000 a second
)

// feed writes events until it is told to end.
type feed struct {
	client *kgo.Client
	house  *house

	mu     sync.Mutex
	past   []written
	failed error
}

func newFeed(broker string) (*feed, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(sourceTopic))
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	return &feed{client: client, house: newHouse(rooms, uint64(time.Now().UnixNano()))}, nil
}

// run writes until ctx ends, and waits for what it wrote to be acknowledged.
func (f *feed) run(ctx context.Context) error {
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		for range feedEvents {
			f.write()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := f.client.Flush(flush); err != nil {
		return fmt.Errorf("write the events: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *feed) write() {
	e := f.house.next()
	value, err := json.Marshal(e)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(err)
	n := len(f.past)
	f.past = append(f.past, written{e, -1, -1})
	r := &kgo.Record{Key: []byte(strconv.Itoa(e.Room)), Value: value}
	f.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.note(err)
		f.past[n].partition, f.past[n].offset = r.Partition, r.Offset
	})
}

// note keeps the first error. The lock is held.
func (f *feed) note(err error) {
	if f.failed == nil && err != nil {
		f.failed = fmt.Errorf("write an event: %w", err)
	}
}

// written are the events so far.
func (f *feed) written() []written {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.past)
}

// ring is an alarm that was read.
type ring struct {
	event
	partition int32
	at        time.Time // when it was read
}

// reader reads the alarms as everybody else would: only what is committed.
type reader struct {
	client *kgo.Client

	mu    sync.Mutex
	rings []ring
	next  positions // of the output
	err   error
}

func newReader(broker string) (*reader, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker),
		kgo.ConsumeTopics(outputTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they take offsets: without them it would never be at the end
	)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	return &reader{client: client, next: positions{}}, nil
}

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.client.PollFetches(ctx).EachRecord(r.take)
	}
}

func (r *reader) take(record *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next[record.Partition] = record.Offset + 1
	if record.Attrs.IsControl() {
		return
	}
	e, err := alarm(record.Value)
	if err != nil {
		r.err = err
		return
	}
	r.rings = append(r.rings, ring{e, record.Partition, time.Now()})
}

// position is how far it has read.
func (r *reader) position() (positions, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.next), r.err
}

// since are the alarms from number n on.
func (r *reader) since(n int) []ring {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.rings[n:])
}

func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rings)
}

// silence is the longest time that a partition had no alarm, from the last one
// before number mark on, and in how many of them one came after it.
func silence(rings []ring, mark int) (longest time.Duration, partitions int) {
	last, after := map[int32]time.Time{}, map[int32]bool{}
	for i, r := range rings {
		if before, ok := last[r.partition]; ok && i >= mark {
			longest = max(longest, r.at.Sub(before))
			after[r.partition] = true
		}
		last[r.partition] = r.at
	}
	return longest, len(after)
}

// again says whether, of every partition, the last alarm before number mark has
// rung again.
func again(rings []ring, mark int) bool {
	last := map[int32]event{}
	for _, r := range rings[:mark] {
		last[r.partition] = r.event
	}
	for _, r := range rings[mark:] {
		if last[r.partition] == r.event {
			delete(last, r.partition)
		}
	}
	return len(last) == 0
}
