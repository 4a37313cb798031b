package control

import (
	"testing"
	"time"
)

// processes waits until the view's processes satisfy want.
func processes(b *bench, tail *Tail, want func([]Process) bool) []Process {
	b.t.Helper()
	ctx := b.context()
	for {
		changed := tail.Changed()
		if got := tail.View().Processes(); want(got) {
			return got
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.t.Fatalf("the topic says %+v", tail.View().Processes())
		}
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	pr := l.plane.Presence()
	tasks := []TaskState{{Stage: "in:events", Partition: 1, State: "restoring", RestoreRemaining: 7}}
	began := time.Now()
	pr.Set(Process{Seat: "aaaaaaaaaa", Generation: 1, Tasks: tasks})
	got := processes(b, l.Tail(), func(all []Process) bool { return len(all) == 1 })
	if got[0].Tasks[0] != tasks[0] || got[0].At.IsZero() {
		t.Errorf("got %+v", got[0])
	}
	// Many changes are one record, not before two seconds.
	for n := range 100 {
		pr.Set(Process{Seat: "aaaaaaaaaa", PID: n})
	}
	processes(b, l.Tail(), func(all []Process) bool { return len(all) == 1 && all[0].PID == 99 })
	if took := time.Since(began); took < presenceInterval {
		t.Errorf("two records within %s", took)
	}
	if n := b.keys()["process/aaaaaaaaaa"]; n != 2 {
		t.Errorf("%d records", n)
	}
	// P4: the seat has a new identity, and the old one's record goes.
	pr.Set(Process{Seat: "bbbbbbbbbb"})
	processes(b, l.Tail(), func(all []Process) bool { return len(all) == 1 && all[0].Seat == "bbbbbbbbbb" })
	if err := pr.Err(); err != nil {
		t.Error(err)
	}
	if err := pr.Close(b.context()); err != nil {
		t.Fatal(err)
	}
	processes(b, l.Tail(), func(all []Process) bool { return len(all) == 0 })
}

func TestStopTakesBackPresenceOfTheDead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	pr := l.plane.Presence()
	pr.Set(Process{Seat: "aaaaaaaaaa"})
	processes(b, l.Tail(), func(all []Process) bool { return len(all) == 1 })
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	processes(b, l.Tail(), func(all []Process) bool { return len(all) == 0 })
	pr.Close(b.context())
}
