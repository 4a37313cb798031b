package it

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/internal/kafkatest"
)

// TestUnknownCommit loses the broker's answers to EndTxn: the transaction has
// ended, and procd is not told how. It must find out, not guess (T1).
func TestUnknownCommit(t *testing.T) {
	for _, test := range []struct {
		name string
		fate kafkatest.Fate
		each int64 // every so many commits
	}{
		{"silent", kafkatest.LoseReply, 30},
		{"cut", kafkatest.CutAtReply, 10},
		{"request lost", kafkatest.LoseRequest, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testUnknownCommit(t, test.fate, test.each)
		})
	}
}

func testUnknownCommit(t *testing.T, fate kafkatest.Fate, each int64) {
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	// Counts, and not alarms, since these show a record that was applied twice.
	j := newJob(t, k, options{Template: floorsYAML})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate/2)
	a, b := j.start(), j.start()
	j.waitEveryPartition(30 * time.Second)

	const enough = 4
	var commits, lost atomic.Int64
	k.broker.Proxy().Judge(func(r kafkatest.Request) kafkatest.Verdict {
		if r.Key != kmsg.EndTxn.Int16() || commits.Add(1)%each != 0 || lost.Load() >= enough {
			return kafkatest.Verdict{}
		}
		lost.Add(1)
		return kafkatest.Verdict{Fate: fate}
	})
	for lost.Load() < enough {
		j.waitEveryPartition(time.Minute)
	}
	k.broker.Proxy().Judge(nil)
	j.waitEveryPartition(time.Minute)
	must(t, feed.stop())
	j.waitFloors(time.Minute)
	j.interrupt(a, b)
	j.verifyFloors()
}

// TestConnectionsCut closes all connections every second, and delays the
// broker's answers in between.
func TestConnectionsCut(t *testing.T) {
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	// Counts, and not alarms, since these show a record that was applied twice.
	j := newJob(t, k, options{Template: floorsYAML})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	a, b := j.start(), j.start()
	var n atomic.Int64
	k.broker.Proxy().Judge(func(kafkatest.Request) kafkatest.Verdict {
		if n.Add(1)%50 == 0 {
			return kafkatest.Verdict{Delay: 100 * time.Millisecond}
		}
		return kafkatest.Verdict{}
	})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(soak(15*time.Second, time.Minute)); time.Now().Before(end); {
		<-tick.C
		k.broker.Proxy().Cut()
	}
	k.broker.Proxy().Judge(nil)
	j.waitEveryPartition(time.Minute)
	must(t, feed.stop())
	j.waitFloors(time.Minute)
	j.interrupt(a, b)
	j.verifyFloors()
}

// TestBrokerAway makes the broker unreachable for longer than session and
// transaction timeouts, with minutes in the long run: the processes come back
// by themselves.
func TestBrokerAway(t *testing.T) {
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	j := newJob(t, k, options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	a, b := j.start(), j.start()
	j.waitEveryPartition(30 * time.Second)

	k.broker.Proxy().BlackHole()
	<-time.After(soak(sessionTimeout+transactionTimeout, 3*time.Minute))
	k.broker.Proxy().Heal()

	if took := j.waitEveryPartition(time.Minute); took > 20*time.Second {
		t.Errorf("it took %v until all tasks progressed", took)
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(a, b)
	j.verify()
}

// TestBrokerKilled kills the broker twice; the job runs again within 20 s of
// each restart.
func TestBrokerKilled(t *testing.T) {
	k := ownKafka(t, kafkatest.BrokerOptions{})
	j := newJob(t, k, options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	a, b := j.start(), j.start()
	for range 2 {
		j.waitEveryPartition(30 * time.Second)
		k.broker.Kill()
		must(t, k.broker.Restart(within(t, 2*time.Minute)))
		if took := j.waitEveryPartition(time.Minute); took > 20*time.Second {
			t.Errorf("it took %v until all tasks progressed", took)
		}
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(a, b)
	j.verify()
}
