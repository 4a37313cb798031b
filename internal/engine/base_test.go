package engine

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/positions"
	"github.com/procd/procd/kstate"
)

// TestBaseStates: what is shown of a task's way from the savepoint.
func TestBaseStates(t *testing.T) {
	for _, c := range []struct {
		t    task
		want baseState
	}{
		{task{}, ""},
		{task{sweep: &sweep{}}, baseAttached},
		{task{sweep: &sweep{}, base: &positions.Base{Cursors: map[string][]byte{"a": {1}}}}, baseAttached},
		{task{sweep: &sweep{detached: true}}, baseDetached},
		{task{base: &positions.Base{Detached: true, Clean: true}}, baseClean},
	} {
		if got := c.t.baseState(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.t, got, c.want)
		}
	}
}

// TestBaseMetrics: the tasks by state, and what is left to be processed again.
func TestBaseMetrics(t *testing.T) {
	p := &process{states: map[taskRef]taskInfo{}, ctx: t.Context(), layout: &layout{stages: []stageLayout{{id: "in:a"}}}}
	lease := &control.Lease{Generation: control.Generation{Savepoint: &control.SavepointRef{}}}
	p.cfg = Config{Lease: lease, Registry: prometheus.NewRegistry()}
	p.metrics = newMetrics(p.cfg)
	for n := range int32(3) {
		p.taskState(0, taskRef{0, n}, taskRunning)
	}
	p.taskBase(taskRef{0, 0}, baseAttached)
	p.taskBase(taskRef{0, 1}, baseAttached)
	p.taskBase(taskRef{0, 1}, baseClean)
	for state, want := range map[baseState]float64{baseAttached: 1, baseDetached: 0, baseClean: 1} {
		if got := testutil.ToFloat64(p.metrics.base.WithLabelValues(string(state))); got != want {
			t.Errorf("%v tasks are %s, want %v", got, state, want)
		}
	}
	if got := p.tasks(); got[0].Base != "attached" || got[1].Base != "clean" || got[2].Base != "" {
		t.Errorf("tasks %+v", got)
	}

	work := &task{ref: taskRef{0, 2}, stage: &stageLayout{id: "in:a", inputs: []string{"a", "b"}}, inputs: []input{{next: 5}, {next: 5}}}
	tm := p.metrics.task(work)
	tm.replays(work, []kstate.SourceOffset{{Topic: "a", Partition: 2, Offset: 12}, {Topic: "a", Partition: 1, Offset: 99}, {Topic: "c", Partition: 2, Offset: 9}})
	gauge := p.metrics.replay.WithLabelValues("a", "2")
	if got := testutil.ToFloat64(gauge); got != 7 {
		t.Errorf("%v records are left to be processed again, want 7", got)
	}
	work.inputs[0].next = 13
	tm.replayed(work)
	if got := testutil.ToFloat64(gauge); got != 0 {
		t.Errorf("%v records are left at the end of the replay", got)
	}
	if n := testutil.CollectAndCount(p.metrics.replay); n != 1 {
		t.Errorf("%d partitions are replayed, want 1", n)
	}
}
