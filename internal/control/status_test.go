package control

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	now := b.now()
	b.produce("events", 0, now, now, now)
	b.produce("events", 1, now)
	b.commit("events", 0, 2)
	member := b.member("procd.alarm.aaaaaaaaaa.0", l.Protocol())
	defer member.Close()
	if err := l.plane.write(b.context(), processKey("aaaaaaaaaa"), mustEncode(t, Process{Seat: "aaaaaaaaaa", At: now.Add(-hour)})); err != nil {
		t.Fatal(err)
	}

	s, err := b.plane().Status(b.context())
	if err != nil {
		t.Fatal(err)
	}
	if s.State.State != Running || s.Generation != 1 || s.JobHash != "h1" || s.Problem != "" || s.CreatedBy != "ann@host" {
		t.Errorf("status %+v", s)
	}
	if len(s.Inputs) != 4 || s.Inputs[0].Position != 2 || s.Inputs[0].Lag != 1 || s.Inputs[1].Lag != 1 || s.Inputs[2].Lag != 0 || s.Lag != 2 {
		t.Errorf("inputs %+v, lag %d", s.Inputs, s.Lag)
	}
	if len(s.Members) != 1 || s.Members[0].ID != "procd.alarm.aaaaaaaaaa.0" || s.Members[0].Partitions != 4 {
		t.Errorf("members %+v", s.Members)
	}
	if len(s.Processes) != 1 || s.Processes[0].AgeSeconds < 3600 {
		t.Errorf("processes %+v", s.Processes)
	}
}

func mustEncode(t *testing.T, p Process) []byte {
	t.Helper()
	value, err := encode(p)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestT5StatusNamesWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mustBegin(alarmJob("h1"), StartOptions{})
	b.produce("events", 0, b.now())
	opts, err := b.config.Opts()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"stranger", "procd.alarm.aaaaaaaaaa.0"} {
		cl, err := kgo.NewClient(append(opts, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		if err := errors.Join(cl.BeginTransaction(), cl.ProduceSync(b.context(), recordTo("events")).FirstErr()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.plane().Status(b.context())
	if err != nil {
		t.Fatal(err)
	}
	in := s.Inputs[0]
	if in.Stable != 1 || in.End != 3 || len(in.Blockers) != 1 || in.Blockers[0].TransactionalID != "stranger" || in.Blockers[0].Offset != 1 {
		t.Errorf("got %+v", in)
	}
}

func TestStatusTellsWhatAStartWouldSay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mustBegin(alarmJob("h1"), StartOptions{})
	if err := b.cluster.DeleteTopic("events"); err != nil {
		t.Fatal(err)
	}
	s, err := b.plane().Status(b.context())
	if err != nil || !strings.Contains(s.Problem, "events does not exist any more") {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := b.plane().Reset(b.context(), ResetOptions{}); err != nil {
		t.Fatal(err)
	}
	if s, err := b.plane().Status(b.context()); err != nil || s.State.State != Reset || s.Problem != "" {
		t.Errorf("after a reset: %+v, %v", s, err)
	}
}

func TestStatusOfNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.plane().Status(b.context()); !errors.Is(err, ErrNoJob) {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	settings := Settings{Cluster: b.config}
	if all, err := List(b.context(), settings); err != nil || len(all) != 0 {
		t.Errorf("no jobs: %+v, %v", all, err)
	}
	b.mustBegin(alarmJob("h1"), StartOptions{})
	b.produce("events", 0, b.now())
	if err := b.cluster.CreateTopic("procd.broken.control", 1, nil); err != nil {
		t.Fatal(err)
	}
	all, err := List(b.context(), settings)
	if err != nil || len(all) != 2 {
		t.Fatalf("got %+v, %v", all, err)
	}
	want := Summary{Job: testJob, State: Running, Generation: 1, Run: 1, Lag: 1}
	if all[0] != want {
		t.Errorf("got %+v, want %+v", all[0], want)
	}
	if all[1].Job != "broken" || !strings.Contains(all[1].Problem, "never started") {
		t.Errorf("got %+v", all[1])
	}
}
