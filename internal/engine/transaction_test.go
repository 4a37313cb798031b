package engine

import (
	"testing"
	"time"
)

// What a commit takes does not come on top of the interval.
func TestBeat(t *testing.T) {
	from := time.Now()
	at := func(ms float64) time.Time { return from.Add(time.Duration(ms * float64(time.Millisecond))) }
	for _, test := range []struct {
		n, of           int
		last, now, want float64
		took            float64
	}{
		{0, 1, 0, 0.5, 100, 0},
		{0, 1, 0, 99.5, 100, 0},
		{0, 1, 100, 100, 200, 0}, // never at once
		{0, 1, 130, 130, 200, 30},
		{0, 1, 1230, 1234, 1300, 30},
		{0, 1, -40, -30, 0, 0},
		{0, 2, 130, 130, 200, 30},
		{1, 2, 5, 10, 50, 5}, // half an interval after the first worker
		{1, 2, 52, 52, 150, 2},
		{1, 2, -75, -70, -50, 5},
		{0, 1, 180, 180, 260, 80},  // as long as the last commit took
		{0, 1, 250, 250, 350, 150}, // but no longer than the interval
		{0, 1, -5e3, 10, 35, 20},   // the first record for long
		{0, 1, -5e3, 90, 100, 2},   // no later than the beat
		{0, 1, -5e3, 98, 118, 20},
		{1, 2, -5e3, 140, 150, 2},
	} {
		b := newBeat(from, 100*time.Millisecond, test.n, test.of)
		b.committed(at(test.last-test.took), at(test.last))
		if got := b.next(at(test.now)); got.Sub(at(test.want)).Abs() > time.Microsecond {
			t.Errorf("worker %d of %d at %v ms, last until %v ms: %v ms, want %v", test.n, test.of, test.now, test.last, got.Sub(from).Seconds()*1000, test.want)
		}
	}
}

// A long interval does not keep a transaction open until its timeout (T7).
func TestBeatOfLongInterval(t *testing.T) {
	from := time.Now()
	b := newBeat(from, time.Hour, 1, 2)
	b.last = from
	if got := b.next(from).Sub(from); got > transactionTimeout/3 {
		t.Errorf("open for %v", got)
	}
}

func TestTransactionDue(t *testing.T) {
	now := time.Now()
	txn := transaction{most: 1000}
	if got := txn.untilDue(time.Second); got != time.Second {
		t.Errorf("without a transaction a poll waits %v", got)
	}
	txn.begun(now, now.Add(time.Minute))
	if got := txn.untilDue(time.Second); got < 50*time.Second || got > time.Minute {
		t.Errorf("a poll waits %v", got)
	}
	switch {
	case txn.due(now):
		t.Error("due at once")
	case !txn.due(now.Add(time.Minute)):
		t.Error("not due in time")
	}
	if txn.records = maxTransactionRecords; !txn.due(now) {
		t.Error("not due with many records")
	}
	txn.begun(now, now.Add(time.Minute))
	if txn.bytes = 1000; !txn.due(now) {
		t.Error("not due with many bytes")
	}
}

// However little memory and however many workers there are, a transaction and
// a fetch hold something; together they stay within their shares.
func TestBuffers(t *testing.T) {
	for _, test := range []struct {
		workers            int
		fetch, produce     int64
		answer, transacted int
	}{
		{1, 64 << 20, 64 << 20, 32 << 20, 64 << 20},
		{2, 64 << 20, 64 << 20, 16 << 20, 32 << 20},
		{1, 8 << 20, 8 << 20, 4 << 20, 8 << 20},
		{64, 64 << 20, 64 << 20, 1 << 20, 4 << 20},
		{1, 8 << 30, 8 << 30, 32 << 20, 64 << 20},
	} {
		c := Config{Workers: test.workers, FetchBytes: test.fetch, ProduceBytes: test.produce}
		if got := int(c.fetchBytes()); got != test.answer {
			t.Errorf("%d workers, %d to fetch: %d per answer, want %d", test.workers, test.fetch, got, test.answer)
		}
		if got := c.transactionBytes(); got != test.transacted {
			t.Errorf("%d workers, %d to produce: %d per transaction, want %d", test.workers, test.produce, got, test.transacted)
		}
	}
}
