package coordinator

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// newID makes the id of a savepoint that is asked for now.
func newID(now time.Time) string {
	var random [2]byte
	rand.Read(random[:]) // never fails, says its documentation
	return savepoint.NewID(now, random)
}

// Progress is how far a savepoint is, for the person who waits.
type Progress struct {
	ID      string
	Attempt int           // 0: nobody has taken it up yet
	Phase   control.Phase // "" while Attempt is 0
	// Bytes have been copied, of Total that are known to have to be.
	Bytes, Total int64
	// Tasks is how many tasks are copied, of All that were reported.
	Tasks, All int
	// Reason is why the attempt before failed.
	Reason string
}

// Taken is what [Take] did.
type Taken struct {
	control.Result
	// Removed are the members of a stopped job that did not leave by
	// themselves.
	Removed []string `json:"removed,omitempty"`
}

// Take asks for a savepoint and waits for the result; with stop, also for the
// job's processes to leave. id is the caller's; "" makes one. progress may be
// nil; it is called whenever something changes.
//
// A savepoint that failed is a result, not an error: Saved is false, and Reason
// says why. With an error the result tells what had been reached by then: a
// stop that is SAVED and STOPPED, but whose members have not left, is
// control.ErrTimeout. Asking again with the same id waits on.
func Take(ctx context.Context, p *control.Plane, id string, stop bool, progress func(Progress)) (Taken, error) {
	if id == "" {
		id = newID(time.Now())
	}
	t := Taken{}
	t.ID, t.Stop = id, stop
	request, err := p.Request(ctx, id, stop)
	if err != nil {
		return t, err
	}
	t.Request = request
	seen := func(v *control.View) {
		if progress != nil {
			progress(progressOf(v, id))
		}
	}
	result, err := p.WaitResult(ctx, request, seen)
	if err != nil {
		return t, err
	}
	t.Result = result
	if result.Stopped {
		t.Removed, err = p.AwaitStopped(ctx, result.Run)
	}
	return t, err
}

func progressOf(v *control.View, id string) Progress {
	now := Progress{ID: id}
	a, ok := v.Attempt()
	if !ok || a.Request != id {
		return now
	}
	now.Attempt, now.Phase, now.Reason = a.Attempt, a.Phase, a.Reason
	for _, r := range v.Reports(id, a.Attempt) {
		now.Bytes += r.Bytes
		now.Total += r.Total
		now.All += len(r.Tasks)
		for _, t := range r.Tasks {
			if t.Step.Reached(control.TaskCopied) {
				now.Tasks++
			}
		}
	}
	return now
}
