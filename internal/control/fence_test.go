package control

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A worker of a killed or paused process left a transaction open. Every way
// to begin a run must make sure that it can never commit.
func TestP5NothingOfThePastCommits(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(b *bench) error{
		"new generation": func(b *bench) error {
			_, err := b.plane().Reset(b.context(), ResetOptions{})
			if err == nil {
				_, err = b.begin(alarmJob("h1"), StartOptions{})
			}
			return err
		},
		"revision": func(b *bench) error {
			_, err := b.begin(alarmJob("h2"), StartOptions{})
			return err
		},
		"reset": func(b *bench) error {
			_, err := b.plane().Reset(b.context(), ResetOptions{})
			return err
		},
		"stop": func(b *bench) error {
			_, err := b.plane().Stop(b.context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.mustBegin(alarmJob("h1"), StartOptions{})
			zombie := b.transaction("procd.alarm.aaaaaaaaaa.0")
			stranger := b.transaction("procd.alarm2.aaaaaaaaaa.0")
			if err := start(b); err != nil {
				t.Fatal(err)
			}
			if err := zombie.EndTransaction(b.context(), kgo.TryCommit); err == nil {
				t.Error("the zombie's transaction committed after the switch")
			}
			if err := stranger.EndTransaction(b.context(), kgo.TryCommit); err != nil {
				t.Errorf("another job was fenced: %v", err)
			}
		})
	}
}

func TestP5RetriesUntilFenced(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const id = "procd.alarm.aaaaaaaaaa.0"
	b.transaction(id)
	busy := b.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: id, Err: kerr.ConcurrentTransactions, Count: 5,
	})
	b.mustBegin(alarmJob("h1"), StartOptions{})
	if busy.Hits() != 5 {
		t.Errorf("%d answers of CONCURRENT_TRANSACTIONS, want 5", busy.Hits())
	}
}

func TestP5FailsRatherThanGoOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const id = "procd.alarm.aaaaaaaaaa.0"
	b.transaction(id)
	b.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: id, Err: kerr.TransactionalIDAuthorizationFailed, Count: -1,
	})
	if _, err := b.begin(alarmJob("h1"), StartOptions{}); err == nil || !strings.Contains(err.Error(), id) {
		t.Errorf("got %v", err)
	}
	if keys := b.keys(); len(keys) != 0 {
		t.Errorf("records %v", keys)
	}
}
