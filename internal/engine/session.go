package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"github.com/procd/procd/topology"
)

// Times of the group and of transactions. They belong together: a dead worker's
// open transaction holds readers back until its timeout (T4).
const (
	SessionTimeout     = 10 * time.Second // a process gone without a word is replaced after this
	transactionTimeout = 15 * time.Second // a transaction is open for a third of this at most (T7)
	rebalanceTimeout   = 20 * time.Second
	heartbeatInterval  = time.Second
)

// Client sizes; bench/README.md says what they were chosen by.
const (
	fetchPartitionBytes = 4 << 20
	minFetchBytes       = 1 << 20
	maxFetchBytes       = 32 << 20
	bufferedRecords     = 1 << 20
	// batchOverhead is what a batch of one record has beside MaxRecordBytes: its
	// own header, and those of an output that is emitted again.
	batchOverhead = 1000
)

// fetchBytes bounds one answer of a broker: while it is worked off, the next one
// is on its way.
func (c *Config) fetchBytes() int32 {
	return int32(min(max(c.FetchBytes/int64(2*c.Workers), minFetchBytes), maxFetchBytes))
}

// fetchWait is how long a broker holds a fetch that finds nothing. A partition
// whose task starts to run while a fetch of the others is held waits for the
// next one: with kgo's default of 5 s most restarts with few records to catch
// up on took more than 5 s to their first.
const fetchWait = 200 * time.Millisecond

// join builds a client, which joins the group by itself. The old client, if
// any, is closed.
func (w *worker) join(ctx context.Context) error {
	w.identity = w.p.cfg.Seat.ID()
	w.instance = w.p.cfg.Seat.InstanceID(w.n)
	id := w.instance
	// Fence this seat's past, so that its open transaction does not hold the
	// offsets back for a second or more (T4).
	if err := w.p.cfg.Lease.Fence(ctx, id); err != nil {
		return err
	}
	w.mail.reset()
	w.newSession()
	w.link = &link{w: w}
	w.client = kprom.NewMetrics("procd_kafka")
	sess, err := kgo.NewGroupTransactSession(w.options(id)...)
	if err != nil {
		return fmt.Errorf("procd/engine: building the client of worker %d: %w", w.n, err)
	}
	// Only now: building the client is what fills w.client, and a scrape may
	// come at any time.
	w.p.metrics.clients[w.n].current.Store(w.client)
	w.sess, w.cl = sess, sess.Client()
	return nil
}

func (w *worker) options(id string) []kgo.Opt {
	return append(w.p.cfg.Kafka[:len(w.p.cfg.Kafka):len(w.p.cfg.Kafka)],
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.ConsumerGroup(w.p.group),
		kgo.InstanceID(id),
		kgo.SessionTimeout(SessionTimeout),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.ConsumeTopics(w.p.layout.inputTopics()...),
		kgo.Balancers(&balancer{
			protocol: w.p.cfg.Lease.Protocol(),
			layout:   w.p.layout,
			claims:   w.memberData,
			assigned: w.link.onAssigned,
		}),
		kgo.OnOffsetsFetched(w.link.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(w.link.onFetchOffsets),
		kgo.OnPartitionsRevoked(w.link.onRevoked),
		kgo.OnPartitionsLost(w.link.onLost),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),                              // O8
		kgo.ConsumeResetOffset(kgo.NoResetOffset().AtStart()), // O1, O2
		kgo.FetchMaxPartitionBytes(min(fetchPartitionBytes, w.p.cfg.fetchBytes())),
		kgo.FetchMaxBytes(w.p.cfg.fetchBytes()),
		kgo.FetchMaxWait(fetchWait),
		kgo.MetadataMinAge(100*time.Millisecond), // T10
		kgo.MaxBufferedRecords(bufferedRecords),
		kgo.RecordPartitioner(newPartitioner(w.p.layout)),
		kgo.ProducerBatchMaxBytes(int32(w.p.cfg.MaxRecordBytes)+batchOverhead),
		kgo.WithHooks(w.client),
		kgo.WithPools(new(fetched)),
	)
}

// partitioner writes records of internal topics where the task said, since
// their partition is the task's, and those of outputs as the plan says, by
// default as Java's clients do (T9).
type partitioner struct {
	layout  *layout
	outputs map[string]topology.Partitioner
}

func newPartitioner(l *layout) partitioner {
	p := partitioner{l, map[string]topology.Partitioner{}}
	for _, t := range l.topics {
		p.outputs[t.name] = t.partitioner
	}
	return p
}

var (
	manual  = kgo.ManualPartitioner()
	sticky  = kgo.StickyKeyPartitioner(nil) // murmur2; a null key goes anywhere
	byOther = func(by topology.Partitioner) kgo.Partitioner {
		return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(by.Partition(r.Key, int32(n))) }
		})
	}
)

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if _, ok := p.layout.internal[topic]; ok {
		return manual.ForTopic(topic)
	}
	switch by := p.outputs[topic]; by {
	case topology.CRC32, topology.FNV:
		return byOther(by).ForTopic(topic)
	default:
		return sticky.ForTopic(topic)
	}
}

// memberData is what the balancer is told of this member.
func (w *worker) memberData() memberData {
	d := memberData{Warm: w.p.warmTasks()}
	w.mail.read(func() { d.Nudge = w.mail.nudges })
	return d
}
