package engine

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/seat"
)

// TestNotReadyWhileRebuilding: from the moment a worker gives up its client until
// the group has told the next one its tasks, the process is not ready. Its list
// of tasks says nothing meanwhile: it is empty.
func TestNotReadyWhileRebuilding(t *testing.T) {
	place, err := seat.Take(t.TempDir(), "alarm")
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	p := &process{states: map[taskRef]taskInfo{}, ctx: t.Context(), cfg: Config{Lease: &control.Lease{}, Seat: place}.withDefaults()}
	p.log = p.cfg.Logger
	p.metrics = newMetrics(p.cfg)
	w := newWorker(p, 0)
	p.workers = []*worker{w}
	e := &Engine{p}
	w.mail.reset()
	w.link = &link{w: w}
	w.sess, err = kgo.NewGroupTransactSession(kgo.SeedBrokers("127.0.0.1:1"), kgo.TransactionalID("x"), kgo.ConsumerGroup("x"), kgo.ConsumeTopics("x"))
	if err != nil {
		t.Fatal(err)
	}
	if e.Assigned() {
		t.Error("ready before the group said anything")
	}
	w.link.onAssigned(map[taskRef]struct{}{}, false)
	if !e.Assigned() {
		t.Error("not ready, and the group has no task for it")
	}
	w.leave(false)
	if e.Assigned() {
		t.Error("ready without a client")
	}
	w.link.onAssigned(map[taskRef]struct{}{}, false) // the old client's last word
	if e.Assigned() {
		t.Error("ready by what the old client was told")
	}
}
