package config

import (
	"fmt"
	"testing"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// alarmTask is the one task of the motion alarm, with records for 100 rooms.
type alarmTask struct {
	tb   testing.TB
	task *topology.Task
	keys [][]byte
	vals [][]byte
	rec  topology.Record
}

func newAlarmTask(tb testing.TB) *alarmTask {
	tb.Helper()
	j, err := Load("../examples/motion-alarm/motion-alarm-v2.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	plan, err := j.Job().Plan()
	if err != nil {
		tb.Fatal(err)
	}
	const now = 1_800_000_000_000
	a := &alarmTask{tb: tb, rec: topology.Record{Topic: "alarm-events", Time: now}}
	a.task, err = plan.NewTask(0, topology.TaskEnv{Partitions: 1, Now: func() int64 { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 400 {
		kind := []string{"activate", "motion", "deactivate", "heartbeat"}[i/100]
		a.keys = append(a.keys, fmt.Append(nil, i%100))
		a.vals = append(a.vals, fmt.Appendf(nil, `{"type":%q,"room":%d,"time":%d,"sensor":"hall \"3\"","level":[1,2,{"x":null}]}`, kind, i%100, now-100_000+10_000*(i/100)))
	}
	return a
}

// round processes all records and ends the transaction.
func (a *alarmTask) round() {
	for i := range a.keys {
		a.rec.Offset++
		a.rec.Key, a.rec.Value = a.keys[i], a.vals[i]
		if err := a.task.Process(0, &a.rec); err != nil {
			a.tb.Fatal(err)
		}
	}
	a.task.Take()
	if err := a.task.Changes(func(int, []byte, []byte) error { return nil }); err != nil {
		a.tb.Fatal(err)
	}
	a.task.Commit(make([]kstate.Position, len(a.task.Stores())))
}

// TestAlarmAllocations: a job in YAML costs as little as one in Go.
func TestAlarmAllocations(t *testing.T) {
	a := newAlarmTask(t)
	for range 10 {
		a.round()
	}
	if n := testing.AllocsPerRun(20, a.round) / float64(len(a.keys)); n > 0.1 {
		t.Errorf("%.2f allocations per record", n)
	}
}

func BenchmarkAlarm(b *testing.B) {
	a := newAlarmTask(b)
	b.ReportAllocs()
	for b.Loop() {
		a.round()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(a.keys)), "ns/record")
}
