package engine

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transaction is what the worker knows of its open Kafka transaction.
type transaction struct {
	open    bool
	since   time.Time
	until   time.Time // when it is to be ended
	records int       // input records processed, control records not counted
	bytes   int       // of outputs and changelog records, and what holds them
	most    int       // bytes at which it is ended, whatever the interval
	// last is the input partition, lastOffset the offset, of the newest record.
	last       topicPartition
	lastOffset int64

	failed  atomic.Pointer[produceError] // the first produce error (T2)
	pool    []*[recordSlab]kgo.Record    // records for reuse once the transaction has ended
	used    int
	printed [][]byte // lines for stdout, due when the commit is known
}

// recordSlab is how many records are allocated at once.
const recordSlab = 256

// produceError is a record that the broker or the client refused.
type produceError struct {
	topic string
	err   error
}

// Bounds of a transaction beside its interval (T7): what is buffered for it
// stays in memory until it ends.
const (
	maxTransactionRecords = 500_000
	minTransactionBytes   = 4 << 20
	maxTransactionBytes   = 64 << 20
	// recordBytes is what a record takes beside its key and value.
	recordBytes = 200
)

// transactionBytes is where a worker ends a transaction.
func (c *Config) transactionBytes() int {
	return int(min(max(c.ProduceBytes/int64(c.Workers), minTransactionBytes), maxTransactionBytes))
}

// due reports whether the transaction has to be ended.
func (t *transaction) due(now time.Time) bool {
	return t.records >= maxTransactionRecords || t.bytes >= t.most || !now.Before(t.until)
}

// untilDue is how long a poll may wait.
func (t *transaction) untilDue(idle time.Duration) time.Duration {
	if !t.open {
		return idle
	}
	return max(time.Until(t.until), time.Millisecond)
}

// beat is when a worker commits: at fixed moments, so that the time that a
// commit takes does not come on top of the interval. Those of the workers of a
// process are spread over it, so that they do not wait for each other's.
type beat struct {
	from  time.Time
	every time.Duration
	last  time.Time     // when the last commit ended
	took  time.Duration // the last commit
}

// newBeat is the beat of worker n of so many. A transaction is open for a third
// of its timeout at most (T7).
func newBeat(from time.Time, interval time.Duration, n, of int) beat {
	every := min(interval, transactionTimeout/3)
	return beat{from: from.Add(every * time.Duration(n) / time.Duration(of)), every: every}
}

// committed notes a commit.
func (b *beat) committed(began, ended time.Time) {
	b.last, b.took = ended, ended.Sub(began)
}

// idleShare of the interval is how long a transaction is open whose first record
// comes after nothing did for an interval: it need not wait for the beat.
const idleShare = 4

// next is when a transaction that begins now is to be ended. It is open for as
// long as the last commit took, at least: where commits take longer than the
// interval, most of the time would go into committing.
func (b *beat) next(now time.Time) time.Time {
	late := now.Sub(b.from) % b.every
	if late < 0 {
		late += b.every
	}
	left := b.every - late
	if now.Sub(b.last) >= b.every {
		left = min(left, b.every/idleShare)
	}
	return now.Add(max(left, min(b.took, b.every)))
}

// record returns a record that lives until the transaction has ended. Topic,
// partition, key, value and timestamp are anybody's; it has no headers.
func (t *transaction) record() *kgo.Record {
	if t.used == len(t.pool)*recordSlab {
		t.pool = append(t.pool, new([recordSlab]kgo.Record))
	}
	r := &t.pool[t.used/recordSlab][t.used%recordSlab]
	t.used++
	t.bytes += recordBytes
	r.Headers = r.Headers[:0]
	return r
}

// begun marks the transaction open.
func (t *transaction) begun(now, until time.Time) {
	t.open, t.since, t.until = true, now, until
	t.records, t.bytes = 0, 0
	t.failed.Store(nil)
}

// ended forgets the transaction; every promise has been called.
func (t *transaction) ended() {
	t.open = false
	t.used = 0
	t.printed = t.printed[:0]
}

// replaced drops the records of a client that is being closed: it may still
// hold them.
func (t *transaction) replaced() {
	t.ended()
	t.pool = nil
}

// promise is called by the client for each record.
func (t *transaction) promise(r *kgo.Record, err error) {
	if err != nil {
		t.failed.CompareAndSwap(nil, &produceError{r.Topic, err})
	}
}

// commitLimit bounds the records of one commit after a commit failed because of
// its data. It halves until the one record is found that does not go through,
// so that on-bad-record applies to that one (P22), and doubles with each commit
// that succeeds. Zero means no limit.
type commitLimit struct {
	n      int
	blamed *blamed
}

// blamed is the record that alone made a commit fail.
type blamed struct {
	tp     topicPartition
	offset int64
	err    error
}

// active reports whether commits are limited: then each poll is one commit.
func (l *commitLimit) active() bool { return l.n > 0 }

// poll is the most records to poll at once.
func (l *commitLimit) poll(most int) int {
	if l.n == 0 {
		return most
	}
	return min(l.n, most)
}

// shrink is called when a commit of so many records failed by its data.
func (l *commitLimit) shrink(records int) {
	l.n = max(records/2, 1)
}

// grow is called when a limited commit succeeded.
func (l *commitLimit) grow(most int) {
	if l.n == 0 {
		return
	}
	if l.n *= 2; l.n >= most {
		l.n = 0
	}
}
