package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

func newFakeRig(t *testing.T, job *topology.Job) *rig {
	t.Helper()
	r := newRig(t, job)
	if r.fake == nil {
		t.Skip("PROCD_ENGINE_BROKERS is set; faults need the fake broker")
	}
	return r
}

// causes adds up a counter over its causes.
func causes(run *running, aborts bool) (text string, n int) {
	m := run.e.p.metrics
	vec := m.rebuilds
	if aborts {
		vec = m.aborts
	}
	for _, cause := range []string{causeUnknownCommit, causeEndTimeout, causeFenced, causeFencedInstance, causeGroupSession, causeProduce, causeOwnership, causeProtocol, causeOpen, causeRevoked, causeData, causeFailed} {
		if v := int(testutil.ToFloat64(vec.WithLabelValues(cause))); v > 0 {
			text += fmt.Sprintf("%s=%d ", cause, v)
			n += v
		}
	}
	return text, n
}

// TestT1UnknownCommit: EndTxn is answered with an error, applied or not. Every
// record still comes out once.
func TestT1UnknownCommit(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *kerr.Error
		key  kmsg.Key
	}{
		{"applied, and the answer is a time-out", kerr.RequestTimedOut, kmsg.EndTxn},
		{"not applied, unknown server error", kerr.UnknownServerError, kmsg.EndTxn},
		{"the offset commit is refused", kerr.UnknownServerError, kmsg.TxnOffsetCommit},
		{"the producer is fenced", kerr.ProducerFenced, kmsg.EndTxn},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newFakeRig(t, sums(unique("unknown"), false))
			fault := r.fake.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, TopLevel: c.key == kmsg.EndTxn, Count: 3,
				When: func(req kmsg.Request) bool {
					e, ok := req.(*kmsg.EndTxnRequest)
					return !ok || e.Commit && !strings.HasSuffix(e.TransactionalID, ".control")
				}})
			run := r.start(t.TempDir())
			for range 5 {
				r.send(400)
				r.wantExact()
			}
			if fault.Hits() == 0 {
				t.Error("no request met the fault")
			}
			rebuilds, _ := causes(run, false)
			t.Log("rebuilds:", rebuilds)
			if err := r.end(run); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestT2OneProduceFails: a transaction of which one record did not arrive is
// not committed.
func TestT2OneProduceFails(t *testing.T) {
	r := newFakeRig(t, sums(unique("produce"), false))
	r.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.name + "-out", Err: kerr.InvalidRequiredAcks, Count: 2})
	run := r.start(t.TempDir())
	r.send(1000)
	r.wantExact()
	if _, n := causes(run, false); n == 0 {
		t.Error("no client was rebuilt")
	}
	if err := r.end(run); err != nil {
		t.Fatal(err)
	}
}

// TestP22RefusedRecordIsBlamed: the broker refuses what one input record leads
// to. It is found and skipped; all others come out.
func TestP22RefusedRecordIsBlamed(t *testing.T) {
	name := unique("blame")
	job := topology.New(name)
	events := topology.From[event](job, name+"-in", codec.JSON[event](), topology.OnBadRecord(topology.DeadLetter(name+"-dead")))
	topology.To(topology.Map(events, func(e event) event { return e }), name+"-out", codec.JSON[event]())
	r := newFakeRig(t, job)
	if _, err := newAdmin(r).CreateTopics(t.Context(), 1, 1, nil, name+"-dead"); err != nil {
		t.Fatal(err)
	}
	const poison = 613
	r.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: name + "-out", Err: kerr.InvalidTimestamp, Count: -1,
		When: func(req kmsg.Request) bool { return holds(req, name+"-out", fmt.Sprintf(`"n":%d}`, poison)) }})
	for i := range 1000 {
		rec := &kgo.Record{Topic: name + "-in", Key: []byte("k"), Value: fmt.Appendf(nil, `{"key":"k","n":%d}`, i)}
		if i != poison {
			r.sent["k"] = append(r.sent["k"], int64(i))
		}
		r.cl.Produce(t.Context(), rec, nil)
	}
	if err := r.cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := r.start(t.TempDir())
	r.wantExact()
	if dead := r.readAll(name+"-dead", 1); !strings.Contains(string(dead[0].Value), fmt.Sprint(poison)) {
		t.Errorf("dead letter %s", dead[0].Value)
	}
	if err := r.end(run); err != nil {
		t.Fatal(err)
	}
}

// holds reports whether a produce request holds a record with text in it. The
// test's records are not compressed when there are few; compressed batches are
// unpacked by looking at the batch of one.
func holds(req kmsg.Request, topic, text string) bool {
	p, ok := req.(*kmsg.ProduceRequest)
	if !ok {
		return false
	}
	for _, t := range p.Topics {
		if t.Topic != topic && t.Topic != "" {
			continue
		}
		for _, part := range t.Partitions {
			var b kmsg.RecordBatch
			if b.ReadFrom(part.Records) != nil {
				continue
			}
			raw, err := kgo.DefaultDecompressor().Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&7))
			if err == nil && strings.Contains(string(raw), text) {
				return true
			}
		}
	}
	return false
}

// TestD1BadRecordStops: with the policy fail, the job stops at the record and
// names it; nothing of it is kept, and nothing before it is lost.
func TestD1BadRecordStops(t *testing.T) {
	r := newFakeRig(t, sums(unique("bad"), false))
	r.send(100)
	bad := &kgo.Record{Topic: r.name + "-in", Key: []byte("k3"), Value: []byte(`{"key":"k3","n":-1}`)}
	if err := r.cl.ProduceSync(t.Context(), bad).FirstErr(); err != nil {
		t.Fatal(err)
	}
	run := r.start(t.TempDir())
	select {
	case err := <-run.ended:
		var record *topology.BadRecord
		if !errors.As(err, &record) || record.Offset != bad.Offset || record.Partition != bad.Partition {
			t.Fatalf("%v; the bad record is at partition %d offset %d", err, bad.Partition, bad.Offset)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the engine goes on")
	}
}

// TestP8ForeignOffsets: somebody moved the group's offsets by hand. The job
// refuses to go on instead of skipping or doubling records.
func TestP8ForeignOffsets(t *testing.T) {
	r := newFakeRig(t, sums(unique("foreign"), false))
	dir := t.TempDir()
	r.send(500)
	run := r.start(dir)
	r.wantExact()
	if err := r.end(run); err != nil {
		t.Fatal(err)
	}
	r.leaveGroup(run)
	r.commitOffset(0, 3)
	run = r.start(dir)
	select {
	case err := <-run.ended:
		var offsets *OffsetsError
		if !errors.As(err, &offsets) || offsets.Partition != 0 || offsets.Group != 3 {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the engine goes on")
	}
}
