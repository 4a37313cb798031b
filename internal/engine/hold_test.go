package engine

import (
	"sync"
	"testing"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
	"github.com/procd/procd/internal/seat"
)

// TestP12Holds: which tasks stand still, and when.
func TestP12Holds(t *testing.T) {
	steps := []control.TaskStep{
		"", control.TaskOpening, control.TaskRunning, control.TaskPrepared, control.TaskQuiet, control.TaskCut, control.TaskCopied,
	}
	for _, c := range []struct {
		name   string
		hold   bool
		source bool
		frozen []control.TaskStep
	}{
		{"no hold, a source", false, true, nil},
		{"no hold, a later stage", false, false, nil},
		{"a source", true, true, steps},
		// Opened after the pre-copy, it must not start; prepared, it has to
		// come to the end of its inputs; cut, it waits.
		{"a later stage", true, false, []control.TaskStep{"", control.TaskOpening, control.TaskRunning, control.TaskCut, control.TaskCopied}},
	} {
		for _, step := range steps {
			ref := taskRef{1, 0}
			p := &part{cmd: coordinator.Command{Hold: c.hold}, tasks: map[taskRef]*taskPart{}}
			if step != "" {
				p.tasks[ref] = &taskPart{step: step}
			}
			want := false
			for _, s := range c.frozen {
				want = want || s == step
			}
			if got := p.frozen(&task{ref: ref, stage: &stageLayout{source: c.source}}); got != want {
				t.Errorf("%s, step %q: frozen %v, want %v", c.name, step, got, want)
			}
		}
	}
}

// TestP14TellsOfATaskThatIsGone: while an attempt musters, a worker tells that it
// has lost a task; else its owner before and its owner now would both seem to
// have it, until the attempt's time is over.
func TestP14TellsOfATaskThatIsGone(t *testing.T) {
	p := &process{states: map[taskRef]taskInfo{}, ctx: t.Context(), detached: make(chan struct{}, 1)}
	place, err := seat.Take(t.TempDir(), "alarm")
	if err != nil {
		t.Fatal(err)
	}
	defer place.Release()
	p.cfg = Config{Lease: &control.Lease{}, Seat: place}.withDefaults()
	p.log = p.cfg.Logger
	p.metrics = newMetrics(p.cfg)
	w := newWorker(p, 0)
	ref := taskRef{0, 1}
	gone := &task{ref: ref, stage: &stageLayout{id: "in:events"}, state: taskRunning, cancel: func() {}}
	gone.metrics = p.metrics.task(gone)
	w.tasks[ref] = gone
	w.part = w.newPart(coordinator.Command{Request: "a", Attempt: 1, Phase: control.PhaseMuster})
	for _, want := range []int{1, 0} {
		if err := w.attend(); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-w.reports.latest:
			if len(r.Tasks) != want {
				t.Errorf("%d tasks reported, want %d", len(r.Tasks), want)
			}
		default:
			t.Errorf("nothing is reported, want %d tasks", want)
		}
		w.drop(ref, false)
	}
}

// TestEndWithoutAFileSystem: what hangs is not waited for, what ends is.
func TestEndWithoutAFileSystem(t *testing.T) {
	var all sync.WaitGroup
	hangs := make(chan struct{})
	all.Go(func() { <-hangs })
	if waitFor(&all, time.Millisecond) {
		t.Error("it hangs, and has ended")
	}
	close(hangs)
	if !waitFor(&all, time.Minute) {
		t.Error("it has ended, and was not waited for")
	}
}
