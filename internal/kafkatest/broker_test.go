package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// startBroker starts a broker, or skips the test where there can be none;
// with PROCD_IT=require that is a failure.
func startBroker(t *testing.T, o BrokerOptions) (*Broker, *Cluster) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a broker")
	}
	b, err := StartBroker(t.Context(), o)
	if errors.Is(err, ErrUnavailable) && os.Getenv("PROCD_IT") != "require" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return b, c
}

// TestBrokerKeepsTransactionsOverKill follows an open, an aborted and a
// committed transaction through a kill -9 of the broker.
func TestBrokerKeepsTransactionsOverKill(t *testing.T) {
	b, c := startBroker(t, BrokerOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.CreateTopic(ctx, "t", 2, map[string]string{"retention.ms": "-1"}); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceTransaction(ctx, "one", record("a"), record("b")); err != nil {
		t.Fatal(err)
	}
	open := openTransaction(t, c, "two", record("c"))
	if err := c.Settled(ctx, "t"); err == nil {
		t.Error("settled with a transaction open")
	}
	if ids, err := c.OpenTransactions(ctx, "tw"); err != nil || ids["two"] != "Ongoing" {
		t.Errorf("open transactions %v, %v", ids, err)
	}
	b.Kill()
	if err := b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := open.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReadAll(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if keys := fmt.Sprint(count(got)); keys != "map[a:1 b:1]" {
		t.Errorf("read %s", keys)
	}
	if err := c.Settled(ctx, "t"); err != nil {
		t.Error(err)
	}
}

// TestBrokerBehindProxy sees that clients of the proxy's address stay behind
// it: what they produce meets the proxy's judge.
func TestBrokerBehindProxy(t *testing.T) {
	b, c := startBroker(t, BrokerOptions{Proxied: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.CreateTopic(ctx, "t", 1, nil); err != nil {
		t.Fatal(err)
	}
	behind, err := Connect(b.Proxy().Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	if err := behind.Produce(ctx, record("a")); err != nil {
		t.Fatal(err)
	}
	b.Proxy().BlackHole()
	silent, cancelSilent := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancelSilent()
	if _, err := behind.Admin.ListGroups(silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("in the black hole: %v", err)
	}
	b.Proxy().Heal()
	if err := behind.Produce(ctx, record("b")); err != nil {
		t.Error(err)
	}
}

func record(key string) *kgo.Record { return &kgo.Record{Topic: "t", Key: []byte(key)} }

func count(records []*kgo.Record) map[string]int {
	n := map[string]int{}
	for _, r := range records {
		n[string(r.Key)]++
	}
	return n
}

func openTransaction(t *testing.T, c *Cluster, id string, records ...*kgo.Record) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.TransactionalID(id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return cl
}
