package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// input is the content of a topic. It is the same in every run, and its i-th
// record can be made again at any time, which is what the models do.
type input struct {
	name   string
	keys   int
	zipf   bool // Zipf(1.0); otherwise every key is as likely as any other
	bytes  int  // size of a value; ignored for events
	events bool // events of the motion alarm, in JSON, keyed by room
	// first is true if the first records have one key after the other, so that
	// after as many records as keys there is a state for each.
	first bool
	// random says that values do not compress, not even together.
	random bool
}

// The inputs of the workloads.
var (
	small  = &input{name: "small", keys: 10_000, bytes: 100}
	large  = &input{name: "large", keys: 10_000, bytes: 1 << 10}
	wide   = &input{name: "wide", keys: 1_000_000, bytes: 100}
	skewed = &input{name: "skewed", keys: 1_000_000, bytes: 100, zipf: true}
	alarms = &input{name: "events", keys: rooms, events: true}
)

// users is how many users the values name; it is what the second stage of
// two-stages counts by.
const users = 10_000

const (
	rooms   = 10_000
	userLen = 8 // bytes at the start of a value that name the user
)

// key is the number of the i-th record's key.
func (in *input) key(i int) int {
	switch {
	case in.first && i < in.keys:
		return i
	case in.zipf:
		return zipf(in.keys)(mix(uint64(i), 23))
	default:
		return int(mix(uint64(i), 11) % uint64(in.keys))
	}
}

// user is the number of the i-th record's user.
func (in *input) user(i int) int { return int(mix(uint64(i), 17) % users) }

// at is the i-th event.
func (in *input) at(i int) event {
	e := event{Type: "motion", Room: in.key(i), Time: int64(i)}
	switch mix(uint64(i), 7) % 10 {
	case 0:
		e.Type = "activate"
	case 1:
		e.Type = "deactivate"
	}
	return e
}

// filler makes values as long as they are meant to be. It does not compress.
var filler = func() []byte {
	b := make([]byte, 4<<10)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], mix(uint64(i), 29))
	}
	return b
}()

const pad = "0123456789012345678901234567890123456789"

// record makes the i-th record.
func (in *input) record(i int) (key, value []byte) {
	key = strconv.AppendInt(nil, int64(in.key(i)), 10)
	if in.events {
		e := in.at(i)
		return key, fmt.Appendf(nil, `{"type":%q,"room":%d,"time":%d,"pad":%q}`, e.Type, e.Room, e.Time, pad)
	}
	return key, in.value(make([]byte, 0, in.bytes), i)
}

// value appends the i-th value: its user, its number, and bytes that differ
// from value to value.
func (in *input) value(dst []byte, i int) []byte {
	dst = appendUser(dst, in.user(i))
	dst = binary.BigEndian.AppendUint64(dst, uint64(i))
	if in.random {
		for n := uint64(0); len(dst) < in.bytes; n++ {
			dst = binary.LittleEndian.AppendUint64(dst, mix(uint64(i)<<16|n, 41))
		}
		return dst[:in.bytes]
	}
	at := int(mix(uint64(i), 31) % uint64(len(filler)-in.bytes))
	return append(dst, filler[at:at+in.bytes-userLen-8]...)
}

func appendUser(dst []byte, user int) []byte { return fmt.Appendf(dst, "%0*d", userLen, user) }

// size is how many bytes a record has on average, key and value.
func (in *input) size() float64 {
	const sample = 1000
	n := 0
	for i := range sample {
		key, value := in.record(i)
		n += len(key) + len(value)
	}
	return float64(n) / sample
}

// mix is splitmix64: for each number another one that looks random.
func mix(n, salt uint64) uint64 {
	n += (salt + 1) * 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// scatter is a prime, so that different ranks stay different keys.
const scatter = 7919

// zipf returns the function that turns random bits into one of n keys, the one
// of rank k with probability 1/k over the sum of all. math/rand has it only for
// exponents above 1.
var zipf = func() func(n int) func(uint64) int {
	var mu sync.Mutex
	sums := map[int][]float64{}
	return func(n int) func(uint64) int {
		mu.Lock()
		defer mu.Unlock()
		sum := sums[n]
		if sum == nil {
			sum = make([]float64, n)
			total := 0.0
			for k := range sum {
				total += 1 / float64(k+1)
				sum[k] = total
			}
			sums[n] = sum
		}
		return func(random uint64) int {
			u := float64(random>>11) / (1 << 53) * sum[n-1]
			rank := min(sort.SearchFloat64s(sum, u), n-1)
			return rank * scatter % n // the hot keys are not neighbours
		}
	}
}()

// preload writes the records [from, to) of an input to a topic.
func preload(ctx context.Context, addr, topic string, in *input, from, to int) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(addr),
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(200_000),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	var mu sync.Mutex
	var failed error
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			mu.Lock()
			failed = err
			mu.Unlock()
		}
	}
	for i := from; i < to && ctx.Err() == nil; i++ {
		key, value := in.record(i)
		cl.Produce(ctx, &kgo.Record{Key: key, Value: value}, promise)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}
