package engine

import (
	"context"
	"testing"
	"time"

	"github.com/procd/procd/internal/coordinator"
)

// TestSavepointsOfARunningJob: savepoints whose tasks do not stand still together
// come about while records come in, and what comes out stays exact.
func TestSavepointsOfARunningJob(t *testing.T) {
	r := newRig(t, sums(unique("spread"), false))
	r.savepoints = t.TempDir()
	run := r.start(t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for range 3 {
		r.send(500)
		taken, err := coordinator.Take(ctx, r.asker(), "", false, nil)
		if err != nil || !taken.Saved {
			t.Fatalf("savepoint: %+v, %v", taken, err)
		}
	}
	r.wantExact()
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}
