package demo

import (
	"context"
	"encoding/json"
	"fmt"
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
	events int
	alarms int
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
	f.note(err)
	r := &kgo.Record{Key: []byte(strconv.Itoa(e.Room)), Value: value}
	f.client.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
		if err != nil {
			f.note(err)
		}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events++
	f.alarms = f.house.alarms
}

func (f *feed) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil && err != nil {
		f.failed = fmt.Errorf("write an event: %w", err)
	}
}

// count is how many events were written, and the alarms they have to raise.
func (f *feed) count() (events, alarms int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events, f.alarms
}

// reader reads the alarms as everybody else would: only what is committed.
type reader struct {
	client *kgo.Client

	mu    sync.Mutex
	found map[int][]int64 // room -> times
	count int
	err   error
	last  time.Time // when the last one was read
}

func newReader(broker string) (*reader, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker),
		kgo.ConsumeTopics(outputTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	return &reader{client: client, found: map[int][]int64{}}, nil
}

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.client.PollFetches(ctx).EachRecord(r.take)
	}
}

func (r *reader) take(record *kgo.Record) {
	e, err := alarm(record.Value)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = err
		return
	}
	r.found[e.Room] = append(r.found[e.Room], e.Time)
	r.count++
	r.last = time.Now()
}

func (r *reader) read() (count int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.last
}
