package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// presenceInterval is the least time between two records of one process: they
// are for people, and every process of the job reads all of them.
const presenceInterval = 2 * time.Second

// Presence tells the control topic what this process is doing (P1). Nothing
// is decided by it, so it is produced outside of any transaction, losing a
// record is fine, and [Presence.Set] never waits.
type Presence struct {
	plane *Plane
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}

	mu     sync.Mutex
	latest Process
	dirty  bool
	closed bool
	failed error
}

// Presence begins to write presence records. Close it before the Plane.
func (p *Plane) Presence() *Presence {
	pr := &Presence{plane: p, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go pr.run()
	return pr
}

// Set says what the process is now; it is written within two seconds, and only
// the latest counts. At is filled in. The caller leaves Tasks alone afterwards.
func (pr *Presence) Set(now Process) {
	pr.mu.Lock()
	pr.latest, pr.dirty = now, true
	pr.mu.Unlock()
	select {
	case pr.wake <- struct{}{}:
	default:
	}
}

// Err is the error of the last write, nil if it worked: a fact for the log and
// for readiness, never a reason to stop.
func (pr *Presence) Err() error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.failed
}

// Close takes the record back: the process is leaving. It waits for the
// tombstone to be written, or for ctx.
func (pr *Presence) Close(ctx context.Context) error {
	pr.mu.Lock()
	first := !pr.closed
	pr.closed = true
	pr.mu.Unlock()
	if first {
		close(pr.stop)
	}
	<-pr.done
	pr.mu.Lock()
	seat := pr.latest.Seat
	pr.mu.Unlock()
	if seat == "" || !first {
		return nil
	}
	return pr.plane.write(ctx, processKey(seat), nil)
}

func (pr *Presence) run() {
	defer close(pr.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a write under way must not delay leaving
		select {
		case <-pr.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for written := ""; ; {
		select {
		case <-pr.wake:
		case <-pr.stop:
			return
		}
		select {
		case <-pause.C:
		case <-pr.stop:
			return
		}
		written = pr.flush(ctx, written)
		pause.Reset(presenceInterval)
	}
}

// flush writes the latest record. written is the seat of the record that is in
// the topic; after a renewal (P4) that one has to go.
func (pr *Presence) flush(ctx context.Context, written string) string {
	pr.mu.Lock()
	record, dirty := pr.latest, pr.dirty
	pr.dirty = false
	pr.mu.Unlock()
	if !dirty {
		return written
	}
	record.At = pr.plane.settings.Now()
	value, err := encode(record)
	if err == nil && written != "" && written != record.Seat {
		err = pr.plane.write(ctx, processKey(written), nil)
	}
	if err == nil {
		err = pr.plane.write(ctx, processKey(record.Seat), value)
	}
	pr.mu.Lock()
	pr.failed = err
	pr.mu.Unlock()
	return record.Seat
}

// write produces one record outside of any transaction; a nil value is a
// tombstone.
func (p *Plane) write(ctx context.Context, key string, value []byte) error {
	r := &kgo.Record{Topic: ControlTopic(p.settings.Job), Key: []byte(key), Value: value}
	if err := p.cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("procd/control: write %s: %w", key, err)
	}
	return nil
}
