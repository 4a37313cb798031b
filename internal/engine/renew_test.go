package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/kafkatest"
)

// TestP4AllWorkersTakeTheNewIdentity: where one worker of a process is fenced by
// a copy of its seat, all of them go on as members of the new seat, and those of
// the old one have left.
func TestP4AllWorkersTakeTheNewIdentity(t *testing.T) {
	r := newRig(t, sums(unique("renewed"), false))
	run := r.start(t.TempDir())
	r.send(200)
	r.wantExact()
	p := run.e.p
	old := p.cfg.Seat.ID()
	if err := p.renewSeat(p.workers[0]); err != nil {
		t.Fatal(err)
	}
	r.until(func() error {
		members := r.members()
		if strings.Contains(members, old) || strings.Count(members, p.cfg.Seat.InstancePrefix()) != len(p.workers) {
			return fmt.Errorf("the seat is %s, the group has %s", p.cfg.Seat.ID(), members)
		}
		return nil
	})
	r.send(200)
	r.wantExact()
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}

// members are the instance ids of the job's group.
func (r *rig) members() string {
	r.t.Helper()
	group, err := newAdmin(r).DescribeGroups(r.t.Context(), control.Group(r.name))
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, m := range group[control.Group(r.name)].Members {
		if m.InstanceID != nil {
			ids = append(ids, *m.InstanceID)
		}
	}
	return fmt.Sprint(ids)
}

// TestP2SupersededDoesNotCommit: what is open when another generation begins is
// not committed any more.
func TestP2SupersededDoesNotCommit(t *testing.T) {
	for range 3 { // a commit may have been due just then
		if committed := superseded(t); committed < 100 {
			return
		}
	}
	t.Error("outputs were committed after the next generation had begun")
}

// superseded begins a generation while a process has a transaction with 100
// outputs open, and returns how many of them are committed in the end.
func superseded(t *testing.T) (committed int) {
	r := newFakeRig(t, sums(unique("superseded"), false))
	r.commit = transactionTimeout // bounded by a third of it
	run := r.start(t.TempDir())
	topic := control.ControlTopic(r.name)
	first := r.readAll(topic, 1)[0]
	next := strings.Replace(string(first.Value), `"generation":1`, `"generation":2`, 1)
	r.send(100)
	r.until(func() error {
		ends, err := newAdmin(r).ListEndOffsets(t.Context(), r.name+"-out")
		n := int64(0)
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		if n < 100 {
			return errors.Join(err, fmt.Errorf("%d outputs", n))
		}
		return nil
	})
	if err := r.cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("generation/2"), Value: []byte(next)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-run.ended:
		if !errors.Is(err, control.ErrSuperseded) {
			t.Errorf("the process ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the process goes on")
	}
	cl := r.manual()
	for p := range int32(4) {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: r.name + "-out", Partition: p, Key: []byte("later")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for later, records := 0, []*kgo.Record(nil); later < 4; {
		records = r.readAll(r.name+"-out", len(records)+1)
		later, committed = 0, 0
		for _, record := range records {
			if string(record.Key) == "later" {
				later++
			} else {
				committed++
			}
		}
	}
	return committed
}

// until waits for something, for a minute at most.
func (r *rig) until(check func() error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := kafkatest.Until(ctx, 5*time.Millisecond, check); err != nil {
		r.t.Fatal(err)
	}
}
