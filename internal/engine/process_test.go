package engine

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/procd/procd/internal/control"
)

// TestCoordinatorFollowsTheFirstTask: the coordinator goes on when the first task
// moves to another worker of the process, in whatever order the two tell, and
// ends when the task has left.
func TestCoordinatorFollowsTheFirstTask(t *testing.T) {
	ended := make(chan struct{})
	p := &process{states: map[taskRef]taskInfo{}, ctx: t.Context()}
	p.cfg = Config{Lease: &control.Lease{}, Registry: prometheus.NewRegistry()}
	p.cfg.Coordinate = func(ctx context.Context) error {
		<-ctx.Done()
		close(ended)
		return nil
	}
	p.metrics = newMetrics(p.cfg)
	p.taskState(0, firstTask, taskRunning)
	p.taskState(1, firstTask, taskRunning)
	p.taskGone(0, firstTask)
	if p.resign == nil {
		t.Fatal("nobody coordinates the job's savepoints")
	}
	p.taskGone(1, firstTask)
	<-ended
	p.aside.Wait()
}
