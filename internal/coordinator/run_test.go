package coordinator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

const testID = "20261122T101530Z-3f9c"

// check holds the savepoint against what the workers had.
func (b *bench) check(r control.Result) {
	b.t.Helper()
	if !r.Saved || r.Rows != 4 || r.Bytes == 0 || r.Location != b.path || r.PauseMillis != 5 {
		b.t.Errorf("result %+v", r)
	}
	s, err := b.location.Open(r.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := s.Verify(b.context(), nil); err != nil {
		b.t.Error(err)
	}
	m := s.Manifest()
	if m.Job != testJob || m.Generation != 1 || m.Run != 1 || m.By != "ann@host" || s.SHA256() != r.SHA256 {
		b.t.Errorf("manifest %+v", m)
	}
	if at := m.Offsets()["events"]; len(at) != partitionCount || at[0] != 100 || at[1] != 101 {
		b.t.Errorf("offsets %v", at)
	}
	if left := b.unfinished(); len(left) > 0 {
		b.t.Errorf("left behind: %v", left)
	}
}

// take asks with the id of the tests.
func (b *bench) take(stop bool) Taken {
	b.t.Helper()
	t, err := Take(b.context(), b.open(), testID, stop, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

func TestSavepoint(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.coordinate()
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	var seen []Progress
	first, err := Take(b.context(), b.open(), "", false, func(p Progress) { seen = append(seen, p) })
	if err != nil {
		t.Fatal(err)
	}
	b.check(first.Result)
	if !savepoint.IsID(first.ID) || first.Attempts != 1 || first.Stopped || first.Reason != "" || first.Finished.Before(first.Started) {
		t.Errorf("result %+v", first)
	}
	for _, phase := range []string{"muster", "prepare", "cut", "copy", "publish"} {
		if ms, ok := first.PhaseMillis[phase]; !ok || ms < 0 || ms > first.Finished.Sub(first.Started).Milliseconds() {
			t.Errorf("%s took %d ms", phase, ms)
		}
	}
	if len(seen) < 2 || seen[0].ID != first.ID {
		t.Errorf("progress %+v", seen)
	}
	again, err := Take(b.context(), b.open(), first.ID, false, nil)
	if err != nil || again.SHA256 != first.SHA256 {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	var refused *control.Refused
	if _, err := Take(b.context(), b.open(), first.ID, true, nil); !errors.As(err, &refused) {
		t.Errorf("asked again, as something else: %v", err)
	}
	v := b.when("the result", func(v *control.View) bool { return v.Saved(first.ID) })
	if _, ok := v.Attempt(); ok || len(v.Requests()) > 0 || len(v.Reports(first.ID, 1)) > 0 {
		t.Error("something of the savepoint is left in the control topic")
	}
	if v.State().State != control.Running {
		t.Errorf("state %+v", v.State())
	}
	kinds := []EventKind{}
	for _, e := range History(v) {
		kinds = append(kinds, e.Kind)
	}
	if !slices.Equal(kinds, []EventKind{BeganGeneration, TookSavepoint}) {
		t.Errorf("history %v", kinds)
	}
}

func TestStopAtASavepoint(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.coordinate()
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	taken := b.take(true)
	b.check(taken.Result)
	v := b.when("STOPPED", func(v *control.View) bool { return v.State().State == control.Stopped })
	if !taken.Stopped || v.State().Savepoint != testID || !v.Saved(testID) {
		t.Errorf("result %+v, state %+v", taken, v.State())
	}
	var refused *control.Refused
	if _, err := Take(b.context(), b.open(), "", false, nil); !errors.As(err, &refused) {
		t.Errorf("a savepoint of a stopped job: %v", err)
	}
	if again := b.take(true); !again.Stopped {
		t.Errorf("asked again: %+v", again)
	}
}

// A worker that dies in any phase, and its successor.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	for phase, attempts := range map[control.Phase]int{
		control.PhaseMuster: 1, control.PhasePrepare: 2, control.PhaseCut: 2, control.PhaseRelease: 1,
	} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.coordinate()
			b.work("w0", "s0", 0)
			dying := b.work("w1", "s1", 1, func(w *worker) { w.dies = phase })
			if phase == control.PhaseRelease {
				// By then it has copied everything: the savepoint is good.
				taken := b.take(false)
				b.check(taken.Result)
				return
			}
			p := b.open()
			request, err := p.Request(b.context(), testID, false)
			if err != nil {
				t.Fatal(err)
			}
			<-dying.died
			b.work("w1", "s2", 1)
			r, err := p.WaitResult(b.context(), request, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.check(r)
			if r.Attempts != attempts {
				t.Errorf("%d attempts, want %d: %s", r.Attempts, attempts, r.Reason)
			}
		})
	}
}

// Nobody takes the dead worker's place: the job goes on, and says why there is
// no savepoint.
func TestWorkerStaysAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.limits = Limits{Muster: 300 * time.Millisecond, Prepare: 300 * time.Millisecond, Cut: 300 * time.Millisecond, Copy: 300 * time.Millisecond}
	b.coordinate()
	b.work("w0", "s0", 0)
	taken := b.take(true)
	if taken.Saved || taken.Stopped || taken.Attempts != MaxFailures || !strings.Contains(taken.Reason, "no worker has said that it has task in:events/1") {
		t.Errorf("result %+v", taken)
	}
	if left := b.unfinished(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := b.location.Open(testID); !errors.Is(err, savepoint.ErrNotFound) {
		t.Errorf("there is a savepoint: %v", err)
	}
	if s := b.when("the result", func(v *control.View) bool { _, ok := v.Result(testID); return ok }).State(); s.State != control.Running {
		t.Errorf("state %+v", s)
	}
}

// The coordinator dies in each phase; the next one goes on.
func TestCoordinatorDies(t *testing.T) {
	t.Parallel()
	for _, phase := range []control.Phase{control.PhaseMuster, control.PhasePrepare, control.PhaseCut} {
		for _, kind := range []string{"savepoint", "stop"} {
			t.Run(string(phase)+"-"+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				cut := make(chan struct{})
				for i, name := range []string{"w0", "w1"} {
					b.work(name, "s", int32(i), func(w *worker) { w.onCut = func() { <-cut } })
				}
				stop := b.coordinate()
				p := b.open()
				request, err := p.Request(b.context(), testID, kind == "stop")
				if err != nil {
					t.Fatal(err)
				}
				b.when(string(phase), func(v *control.View) bool {
					a, ok := v.Attempt()
					return ok && a.Phase == phase
				})
				stop()
				close(cut)
				b.coordinate()
				r, err := p.WaitResult(b.context(), request, nil)
				if err != nil {
					t.Fatal(err)
				}
				b.check(r)
				if r.Attempts < 2 || r.Stopped != (kind == "stop") {
					t.Errorf("result %+v", r)
				}
			})
		}
	}
}

// P13: a worker with another directory fails the attempt before the cut.
func TestLocationIsNotShared(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.coordinate()
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1, func(w *worker) { w.location = b.openLocation(t.TempDir()) })
	taken := b.take(false)
	if taken.Saved || !strings.Contains(taken.Reason, "not shared") {
		t.Errorf("result %+v", taken)
	}
	if left := b.unfinished(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// P13: so does one that has no tasks. It is waited for, however quick the others
// are.
func TestIdleWorkerLooksAtTheLocation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.coordinate()
	p := b.open()
	request, err := p.Request(b.context(), testID, false)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := b.openLocation(t.TempDir())
	b.work("w2", "s2", 0, func(w *worker) { w.tasks, w.location = nil, elsewhere })
	b.when("the idle worker", func(v *control.View) bool { return len(v.Reports(testID, 1)) == 1 })
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	v := b.when("the second attempt", func(v *control.View) bool {
		a, ok := v.Attempt()
		return ok && a.Attempt == 2
	})
	if a, _ := v.Attempt(); !strings.Contains(a.Reason, "worker w2") || !strings.Contains(a.Reason, "not shared") {
		t.Errorf("the first attempt ended by %q", a.Reason)
	}
	if _, err := p.WaitResult(b.context(), request, nil); err != nil {
		t.Error(err)
	}
}

// P14: what an earlier coordinator completed without being able to say so
// counts, and nothing is done twice.
func TestManifestComesFirst(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.coordinate()
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	taken := b.take(false)
	stop()
	// As if the result had never been written.
	if err := b.plane.Forget(b.context(), testID); err != nil {
		t.Fatal(err)
	}
	b.when("the tombstone", func(v *control.View) bool { return !v.Saved(testID) })
	b.coordinate()
	again := b.take(true)
	if !again.Saved || again.Stopped || again.SHA256 != taken.SHA256 || again.Reason == "" {
		t.Errorf("result %+v", again)
	}
}

// P11, P14: the decider refuses what an overtaken coordinator wants to say.
func TestAnswerOfAnOvertakenCoordinator(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	request, err := b.plane.Request(b.context(), testID, true)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(attempt int, coordinator string) error {
		return b.plane.Claim(b.context(), control.Attempt{
			Request: testID, Attempt: attempt, Coordinator: coordinator, Run: 1, Phase: control.PhaseMuster, Stop: true,
		})
	}
	if err := errors.Join(claim(1, "a"), claim(1, "a"), claim(2, "b")); err != nil {
		t.Fatal(err)
	}
	for _, late := range []error{claim(1, "a"), claim(2, "a"), claim(2, "c")} {
		if !errors.Is(late, control.ErrOvertaken) {
			t.Errorf("late claim: %v", late)
		}
	}
	r := control.Result{Request: request, Saved: true, Stopped: true, Attempts: 1}
	if _, err := b.plane.Answer(b.context(), r, 1, "a"); !errors.Is(err, control.ErrOvertaken) {
		t.Errorf("late answer: %v", err)
	}
	if _, err := b.plane.Answer(b.context(), r, 2, "a"); !errors.Is(err, control.ErrOvertaken) {
		t.Errorf("answer of another coordinator: %v", err)
	}
	if err := claim(3, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.plane.Answer(b.context(), r, 2, "b"); !errors.Is(err, control.ErrOvertaken) {
		t.Errorf("answer of its own earlier attempt: %v", err)
	}
	r.Attempts = 3
	got, err := b.plane.Answer(b.context(), r, 3, "b")
	if err != nil || !got.Stopped {
		t.Fatalf("answer: %+v, %v", got, err)
	}
	if _, err := b.plane.Answer(b.context(), r, 3, "b"); !errors.Is(err, control.ErrOvertaken) {
		t.Errorf("answered twice: %v", err)
	}
}

// every makes the job take savepoints by itself.
func every(d time.Duration, keep int) func(*Deps) {
	return func(deps *Deps) {
		plan := *deps.Plan
		plan.Savepoints = topology.Schedule{Every: d, Keep: keep}
		deps.Plan = &plan
	}
}

// The schedule prunes what it made, and nothing that a person asked for.
func TestSchedule(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.coordinate(every(300*time.Millisecond, 2))
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	asked := b.take(false)
	var first string
	b.when("a savepoint", func(v *control.View) bool {
		for _, r := range v.Results() {
			if r.Scheduled && first == "" {
				first = r.ID
			}
		}
		return first != ""
	})
	v := b.when("that it is gone", func(v *control.View) bool { _, ok := v.Result(first); return !ok })
	kept := 0
	for _, r := range v.Results() {
		if r.Scheduled && r.Saved {
			kept++
			if _, err := b.location.Open(r.ID); err != nil {
				t.Error(err)
			}
		}
	}
	if kept < 2 {
		t.Errorf("results %+v", v.Results())
	}
	ctx := b.context()
	for {
		if _, err := b.location.Open(first); errors.Is(err, savepoint.ErrNotFound) {
			break
		}
		select {
		case <-b.lease.Tail().Changed():
		case <-ctx.Done():
			t.Fatal("the savepoint was not removed")
		}
	}
	if _, err := b.location.Open(asked.ID); err != nil || !b.lease.Tail().View().Saved(asked.ID) {
		t.Errorf("the schedule removed what a person asked for: %v", err)
	}
}

// What attempts left goes, unless somebody may be at it, or it is another job's.
func TestTidy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.coordinate()
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	answered := b.take(false).ID
	stop()
	const pending, forgotten, others = "20261122T101531Z-0001", "20261122T101532Z-0002", "20261122T101533Z-0003"
	if _, err := b.plane.Request(b.context(), pending, false); err != nil {
		t.Fatal(err)
	}
	for id, token := range map[string]string{pending: "alarm.x", forgotten: "alarm.x", others: "alarms.x"} {
		if _, err := b.location.Begin(id, 1, token); err != nil {
			t.Fatal(err)
		}
	}
	// A worker that was slow brings its directory back, without a token.
	for _, name := range []string{"." + answered + ".1.tmp", "." + others + ".2.gone", "." + answered + ".0.gone"} {
		if err := os.MkdirAll(filepath.Join(b.path, name, "stores"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &runner{Deps: Deps{Plane: b.plane, Lease: b.lease, Location: b.location}.withDefaults()}
	if err := r.tidy(b.context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"." + pending + ".1.tmp", "." + others + ".1.tmp", "." + others + ".2.gone"}
	if left := b.unfinished(); !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

// A removal that was cut short is finished; if somebody needs the savepoint by
// now, it is there again. Another job's is left alone.
func TestTidyFinishesRemovals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.coordinate()
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	unused, err := Take(b.context(), b.open(), "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	used := b.take(true) // the job stands at it
	stop()
	hide := func(id string) (hidden string) {
		t.Helper()
		hidden = "." + id + ".0.gone"
		if err := os.Rename(filepath.Join(b.path, id), filepath.Join(b.path, hidden)); err != nil {
			t.Fatal(err)
		}
		return hidden
	}
	hidden := hide(unused.ID)
	hide(used.ID)
	tidy := func(lease *control.Lease) {
		t.Helper()
		r := &runner{Deps: Deps{Plane: b.plane, Lease: lease, Location: b.location}.withDefaults()}
		found, err := b.location.Unfinished()
		for _, u := range found {
			err = errors.Join(err, r.finishRemoval(b.context(), u))
		}
		if err != nil {
			t.Error(err)
		}
	}
	tidy(&control.Lease{Job: "other"})
	if left := b.unfinished(); len(left) != 2 || !slices.Contains(left, hidden) {
		t.Errorf("another job's coordinator left %q", left)
	}
	tidy(b.lease)
	if left := b.unfinished(); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if _, err := b.location.Open(unused.ID); !errors.Is(err, savepoint.ErrNotFound) {
		t.Errorf("what was being removed is there: %v", err)
	}
	s, err := b.location.Open(used.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(b.context(), nil); err != nil {
		t.Error(err)
	}
}

// A coordinator begins by tidying, and does so again when it has answered.
func TestCoordinatorTidies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	leave := func(id string) {
		t.Helper()
		if _, err := b.location.Begin(id, 1, "alarm.x"); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() {
		t.Helper()
		ctx := b.context()
		for len(b.unfinished()) > 0 {
			if ctx.Err() != nil {
				t.Fatalf("left: %v", b.unfinished())
			}
			time.Sleep(time.Millisecond) // between two looks
		}
	}
	leave("20261122T101531Z-0001")
	b.coordinate()
	gone()
	leave("20261122T101532Z-0002")
	b.work("w0", "s0", 0)
	b.work("w1", "s1", 1)
	b.take(false)
	gone()
}

// Ends are high watermarks, of all partitions.
func TestMeasure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := &runner{Deps: Deps{Plane: b.plane}, adm: newAdm(b)}
	topic := control.RepartitionTopic(testJob, 1, "parity")
	ends, err := r.measure(b.context(), []string{topic})
	if err != nil || len(ends[topic]) != partitionCount {
		t.Errorf("got %v, %v", ends, err)
	}
	if _, err := r.measure(b.context(), []string{"nothing"}); err == nil {
		t.Error("the ends of a topic that does not exist")
	}
	ctx, cancel := context.WithCancel(b.context())
	cancel()
	if _, err := r.measure(ctx, []string{topic}); err == nil {
		t.Error("measured although the context is over")
	}
}

func newAdm(b *bench) *kadm.Client { return kadm.NewClient(b.plane.Client()) }
