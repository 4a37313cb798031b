package engine

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/topology"
)

// process runs what was fetched through its tasks, partition by partition.
// All of it: End commits every polled record (T11).
func (w *worker) process(fetches kgo.Fetches) error {
	for i := range fetches {
		for j := range fetches[i].Topics {
			topic := &fetches[i].Topics[j]
			for k := range topic.Partitions {
				if err := w.processPartition(topic.Topic, &topic.Partitions[k]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (w *worker) processPartition(topic string, p *kgo.FetchPartition) error {
	if len(p.Records) == 0 {
		return nil
	}
	tp := topicPartition{topic, p.Partition}
	t := w.byTP[tp]
	if t == nil || t.state != taskRunning {
		return &rebuildError{causeOwnership, fmt.Errorf("records of %s partition %d, which no running task owns", topic, p.Partition)}
	}
	if !w.txn.open {
		if err := w.begin(); err != nil {
			return err
		}
	}
	t.touched = true
	input := t.stage.input(topic)
	t.metrics.fetched(input, p)
	w.txn.last = tp
	for records := p.Records; len(records) > 0; {
		n := min(len(records), emitEvery)
		if err := w.runRecords(t, input, records[:n]); err != nil {
			return err
		}
		w.emit(t)
		records = records[n:]
	}
	return nil
}

// emitEvery is how many records are processed before their outputs are
// produced: few enough that all that is touched twice is still in the cache.
const emitEvery = 256

// runRecords runs the records of one partition through its task. Control
// records are stepped over, but count as consumed: an idle group has lag 0 (O8).
func (w *worker) runRecords(t *task, input int, records []*kgo.Record) error {
	in := &t.inputs[input]
	for _, r := range records {
		if r.Offset < in.next {
			continue
		}
		if !r.Attrs.IsControl() {
			w.txn.records++
			w.txn.lastOffset = r.Offset
			if err := w.runRecord(t, input, r); err != nil {
				return err
			}
		}
		in.next = r.Offset + 1
		r.Recycle()
	}
	return nil
}

func (w *worker) runRecord(t *task, input int, r *kgo.Record) error {
	rec := &w.rec
	rec.Topic, rec.Partition, rec.Offset = r.Topic, r.Partition, r.Offset
	rec.Time = r.Timestamp.UnixMilli()
	rec.Key, rec.Value = r.Key, r.Value
	rec.Headers = rec.Headers[:0]
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, topology.Header{Key: h.Key, Value: h.Value})
	}
	if b := w.limit.blamed; b != nil && b.offset == r.Offset && b.tp == (topicPartition{r.Topic, r.Partition}) {
		w.limit.blamed = nil
		return t.run.Reject(input, rec, b.err)
	}
	return t.run.Process(input, rec)
}

// emit produces the outputs of a task. Their memory is the task's until the
// transaction has ended.
func (w *worker) emit(t *task) {
	outputs := t.run.Outputs()
	for i := range outputs {
		o := &outputs[i]
		topic := &w.p.layout.topics[o.Topic]
		if topic.kind == topology.StdoutTopic {
			w.txn.printed = append(w.txn.printed, o.Value)
			continue
		}
		r := w.txn.record()
		r.Topic, r.Partition, r.Key, r.Value = topic.name, o.Partition, o.Key, o.Value
		if topic.kind == topology.RepartitionTopic {
			r.Partition = topology.Murmur2.Partition(o.Key, topic.partitions)
		}
		r.Timestamp = time.UnixMilli(o.Time)
		for _, h := range o.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		w.txn.bytes += len(o.Key) + len(o.Value)
		w.cl.Produce(w.p.ctx, r, w.txn.promise)
	}
	t.run.Take()
}
