package engine

import "testing"

// TestT1JudgeAbort: an answer of End that says neither is decided by the
// offsets the group holds.
func TestT1JudgeAbort(t *testing.T) {
	a, b := topicPartition{"t", 0}, topicPartition{"t", 1}
	type offsets = map[topicPartition]int64
	for _, c := range []struct {
		name        string
		before, now offsets
		want        outcome
	}{
		{"nothing moved: a rebalance's abort", offsets{a: 5, b: 7}, offsets{a: 5, b: 7}, outcomeAborted},
		{"all moved: it committed, and the reply was lost", offsets{a: 5, b: 7}, offsets{a: 9, b: 8}, outcomeUnknown},
		{"one did not move: transactions are atomic, so the other moved by its new owner", offsets{a: 5, b: 7}, offsets{a: 5, b: 8}, outcomeAborted},
		{"first commit of the group, still none", offsets{a: -1}, offsets{}, outcomeAborted},
		{"first commit of the group, applied", offsets{a: -1}, offsets{a: 3}, outcomeUnknown},
		{"no task of it is left here", offsets{}, offsets{}, outcomeAborted},
	} {
		if got := judgeAbort(c.before, c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
