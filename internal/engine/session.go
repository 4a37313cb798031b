package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
	fetchBytes          = 32 << 20
	bufferedRecords     = 1 << 20
	batchOverhead       = 200 // of a batch of one record
)

// join builds a client, which joins the group by itself. The old client, if
// any, is closed.
func (w *worker) join(ctx context.Context) error {
	w.identity = w.p.cfg.Seat.ID()
	w.instance = w.p.cfg.Seat.InstanceID(w.n)
	id := w.instance
	// Fence this seat's past, so that its open transaction does not hold the
	// offsets back for a second or more (T4).
	if err := w.p.fence(ctx, id); err != nil {
		return err
	}
	w.mail.reset()
	w.newSession()
	w.client = kprom.NewMetrics("procd_kafka")
	w.p.metrics.clients[w.n].current.Store(w.client)
	sess, err := kgo.NewGroupTransactSession(w.options(id)...)
	if err != nil {
		return fmt.Errorf("procd/engine: building the client of worker %d: %w", w.n, err)
	}
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
			assigned: w.onAssigned,
		}),
		kgo.OnOffsetsFetched(w.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(w.onFetchOffsets),
		kgo.OnPartitionsRevoked(w.onRevoked),
		kgo.OnPartitionsLost(w.onLost),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),                              // O8
		kgo.ConsumeResetOffset(kgo.NoResetOffset().AtStart()), // O1, O2
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.MetadataMinAge(100*time.Millisecond), // T10
		kgo.MaxBufferedRecords(bufferedRecords),
		kgo.RecordPartitioner(newPartitioner(w.p.layout)),
		kgo.ProducerBatchMaxBytes(int32(w.p.cfg.MaxRecordBytes)+batchOverhead),
		kgo.WithHooks(w.client),
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

// onAssigned gets every assignment whole. It is where ownership comes from;
// the callbacks are only the moment to act (P19).
func (w *worker) onAssigned(tasks map[taskRef]struct{}, incomplete bool) {
	w.mail.post(func() {
		m := &w.mail
		m.assigned = tasks
		for ref := range m.fetched {
			if _, ok := tasks[ref]; !ok {
				delete(m.fetched, ref)
			}
		}
		if !incomplete {
			m.incomplete = time.Time{}
		} else if m.incomplete.IsZero() {
			m.incomplete = time.Now()
		}
	})
}

// onOffsetsFetched keeps the metadata of the commits, which kgo does not pass
// on (P8). kgo calls it right before onFetchOffsets, on the same goroutine.
func (w *worker) onOffsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	got := map[topicPartition]committed{}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				c := committed{offset: p.Offset}
				if p.Metadata != nil {
					c.meta = *p.Metadata
				}
				got[topicPartition{t.Topic, p.Partition}] = c
			}
		}
	}
	w.mail.read(func() { w.mail.commits = got })
	return nil
}

// onFetchOffsets gets the partitions that are new to this client, before their
// first fetch. It answers with an offset for each, never a symbolic one (O2),
// and pauses them: their task is not running yet (T11).
func (w *worker) onFetchOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	pause := map[string][]int32{}
	starts := map[taskRef]*start{}
	var commits map[topicPartition]committed
	w.mail.read(func() { commits = w.mail.commits })
	for topic, partitions := range offsets {
		stage, ok := w.p.layout.stageOf(topic)
		if !ok {
			continue
		}
		for partition := range partitions {
			pause[topic] = append(pause[topic], partition)
			at, err := w.startInput(taskRef{stage, partition}, topic, commits, starts)
			if err != nil {
				at = 0 // paused for good: the task's opening fails with this error
			}
			partitions[partition] = kgo.NewOffset().At(at).WithEpoch(-1)
		}
	}
	w.cl.PauseFetchPartitions(pause)
	w.mail.post(func() {
		for ref, s := range starts {
			w.mail.fetched[ref] = s
		}
	})
	return offsets, nil
}

// startInput decides where one input starts and notes it for its task.
func (w *worker) startInput(ref taskRef, topic string, commits map[topicPartition]committed, starts map[taskRef]*start) (int64, error) {
	stage := &w.p.layout.stages[ref.stage]
	s := starts[ref]
	if s == nil {
		s = &start{inputs: make([]committed, len(stage.inputs)), next: make([]int64, len(stage.inputs))}
		starts[ref] = s
	}
	c, ok := commits[topicPartition{topic, ref.partition}]
	if !ok {
		c.offset = -1
	}
	i := stage.input(topic)
	at, err := startOffset(c, w.p.cfg.Lease.Generation.Generation, stage.start(i, ref.partition))
	if err != nil {
		s.err = err
	}
	s.inputs[i], s.next[i] = c, at
	return at, err
}

// onRevoked and onLost run while the worker is between AllowRebalance and the
// return of its next poll, so it touches no task meanwhile (P19). Tasks are
// closed here, before the revocation is acknowledged.
func (w *worker) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	w.dropPartitions(revoked, true)
}

func (w *worker) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	w.dropPartitions(lost, true)
}

func (w *worker) dropPartitions(partitions map[string][]int32, flush bool) {
	if len(partitions) == 0 {
		return
	}
	var refs []taskRef
	for topic, ps := range partitions {
		if stage, ok := w.p.layout.stageOf(topic); ok {
			for _, p := range ps {
				refs = append(refs, taskRef{stage, p})
			}
		}
	}
	w.mail.post(func() {
		w.mail.revoked = true
		for _, ref := range refs {
			delete(w.mail.fetched, ref) // if it comes back, it is with new offsets
		}
	})
	for _, ref := range refs {
		w.drop(ref, flush)
	}
}
