package engine

import (
	"sync"
	"testing"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
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
