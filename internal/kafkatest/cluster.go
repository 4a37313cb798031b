package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// EnvBrokers names the environment variable with the brokers to test against,
// separated by commas.
const EnvBrokers = "PROCD_IT_BROKERS"

// Open returns the brokers of a test run: those of [EnvBrokers], else a fresh
// one from Maven Central that stop ends. Where neither is possible the error
// is [ErrUnavailable].
func Open(ctx context.Context) (brokers []string, stop func() error, err error) {
	if env := os.Getenv(EnvBrokers); env != "" {
		return strings.Split(env, ","), func() error { return nil }, nil
	}
	b, err := StartBroker(ctx, BrokerOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("%s is not set: %w", EnvBrokers, err)
	}
	return []string{b.Addr()}, b.Stop, nil
}

// Cluster is what a test sees of a Kafka: topics, records, groups and
// transactions. Its methods are safe for concurrent use.
type Cluster struct {
	Brokers []string
	Admin   *kadm.Client

	producer *kgo.Client
}

// Connect makes the clients; the first use of them connects.
func Connect(brokers ...string) (*Cluster, error) {
	// murmur2 by key, as the Java clients place records, is kgo's default.
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(100_000),
		kgo.MetadataMinAge(pollEvery), // what a test has just changed is asked for at once
	)
	if err != nil {
		return nil, err
	}
	return &Cluster{Brokers: brokers, Admin: kadm.NewClient(cl), producer: cl}, nil
}

// Close ends the clients.
func (c *Cluster) Close() { c.producer.Close() }

// CreateTopic makes a topic with one replica and returns when clients can see
// it. configs may be nil.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int32, configs map[string]string) error {
	values := make(map[string]*string, len(configs))
	for key, value := range configs {
		values[key] = &value
	}
	resp, err := c.Admin.CreateTopic(ctx, partitions, 1, values, name)
	if err != nil {
		return fmt.Errorf("procd/kafkatest: creating topic %s: %w", name, err)
	}
	if resp.Err != nil {
		return resp.Err
	}
	// The controller knows it; the broker hears of it a moment later.
	return Until(ctx, pollEvery, func() error {
		topics, err := c.Admin.ListTopics(ctx, name)
		if err != nil {
			return err
		}
		for _, p := range topics[name].Partitions {
			if p.Err != nil {
				return p.Err
			}
		}
		return topics[name].Err
	})
}

// DeleteTopic deletes a topic and returns when it is gone from the metadata.
func (c *Cluster) DeleteTopic(ctx context.Context, name string) error {
	if _, err := c.Admin.DeleteTopic(ctx, name); err != nil {
		return fmt.Errorf("procd/kafkatest: deleting topic %s: %w", name, err)
	}
	return Until(ctx, pollEvery, func() error {
		topics, err := c.Admin.ListTopics(ctx, name)
		if err != nil {
			return err
		}
		if !errors.Is(topics[name].Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("procd/kafkatest: topic %s is still there", name)
		}
		return nil
	})
}

// Produce writes records and returns when the broker has all of them. Records
// of one key keep their order, also over several calls.
func (c *Cluster) Produce(ctx context.Context, records ...*kgo.Record) error {
	return c.producer.ProduceSync(ctx, records...).FirstErr()
}

// ProduceTransaction writes records in one transaction, so that commit markers
// follow them.
func (c *Cluster) ProduceTransaction(ctx context.Context, id string, records ...*kgo.Record) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.TransactionalID(id))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, kgo.TryCommit)
}

// Committed returns a group's committed offsets. It waits for open
// transactions that hold offsets of the group: the answer is final for what
// has ended.
func (c *Cluster) Committed(ctx context.Context, group string) (kadm.Offsets, error) {
	resp, err := c.Admin.FetchOffsets(kadm.RequireStable(ctx), group)
	if err != nil {
		return nil, fmt.Errorf("procd/kafkatest: offsets of group %s: %w", group, err)
	}
	if err := resp.Error(); err != nil {
		return nil, err
	}
	return resp.Offsets(), nil
}

// NoLag is nil when the group has committed every partition of the topics up
// to the high watermark, as an ordinary lag tool counts; otherwise its text
// says where lag is left.
func (c *Cluster) NoLag(ctx context.Context, group string, topics ...string) error {
	lags, err := c.Admin.Lag(ctx, group)
	if err != nil {
		return fmt.Errorf("procd/kafkatest: lag of group %s: %w", group, err)
	}
	described := lags[group]
	if err := described.Error(); err != nil {
		return err
	}
	var left []string
	for _, topic := range topics {
		partitions := described.Lag[topic]
		if len(partitions) == 0 {
			left = append(left, topic+": no commit and no member")
		}
		for _, p := range slices.Sorted(maps.Keys(partitions)) {
			if l := partitions[p]; l.Err != nil || l.Lag != 0 {
				left = append(left, fmt.Sprintf("%s/%d: lag %d, committed %d of %d, error %v", topic, p, l.Lag, l.Commit.At, l.End.Offset, l.Err))
			}
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("procd/kafkatest: group %s lags: %s", group, strings.Join(left, "; "))
	}
	return nil
}

// Settled is nil when no transaction is open on any of the topics: the last
// stable offset of every partition is its high watermark, and no producer has
// an open transaction there.
func (c *Cluster) Settled(ctx context.Context, topics ...string) error {
	ends, err := c.Admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	stable, err := c.Admin.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	if err := errors.Join(ends.Error(), stable.Error()); err != nil {
		return err
	}
	var open []string
	ends.Each(func(end kadm.ListedOffset) {
		if s, _ := stable.Lookup(end.Topic, end.Partition); s.Offset != end.Offset {
			open = append(open, fmt.Sprintf("%s/%d: last stable offset %d, high watermark %d", end.Topic, end.Partition, s.Offset, end.Offset))
		}
	})
	producers, err := c.Admin.DescribeProducers(ctx, ends.Offsets().TopicsSet())
	if err != nil {
		return err
	}
	producers.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset >= 0 {
			open = append(open, fmt.Sprintf("%s/%d: producer %d has a transaction open since offset %d", p.Topic, p.Partition, p.ProducerID, p.CurrentTxnStartOffset))
		}
	})
	if len(open) > 0 {
		return fmt.Errorf("procd/kafkatest: not settled: %s", strings.Join(open, "; "))
	}
	return nil
}

// OpenTransactions lists the transactional ids with prefix whose transaction
// has not ended, with their state.
func (c *Cluster) OpenTransactions(ctx context.Context, prefix string) (map[string]string, error) {
	listed, err := c.Admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("procd/kafkatest: listing transactions: %w", err)
	}
	open := map[string]string{}
	for _, t := range listed.Sorted() {
		if !strings.HasPrefix(t.TxnID, prefix) {
			continue
		}
		switch t.State {
		case "Empty", "CompleteCommit", "CompleteAbort", "Dead":
		default:
			open[t.TxnID] = t.State
		}
	}
	return open, nil
}

// TopicsOf lists the topics that exist whose name starts with prefix, sorted.
func (c *Cluster) TopicsOf(ctx context.Context, prefix string) ([]string, error) {
	topics, err := c.Admin.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(topics.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}
