package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/engine"
)

// hangs is how long a worker may make no step before the process counts as
// hanging. Every wait in a worker's loop is far shorter.
const hangs = 60 * time.Second

// taskRunning is the engine's word for a task that processes records.
const taskRunning = "running"

// progressEvery is how often a process that restores says how far it is.
const progressEvery = 5 * time.Second

func (p *process) setPhase(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
}

func (p *process) setEngine(e *engine.Engine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.engine = e
}

func (p *process) state() (phase string, e *engine.Engine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase, p.engine
}

// live answers /livez. A process that waits for its broker is alive.
func (p *process) live() error {
	_, e := p.state()
	if e == nil {
		return nil
	}
	// Before its first step a worker's last one was at the epoch.
	still := min(time.Since(e.LastStep()), time.Since(p.started))
	if still > hangs {
		return fmt.Errorf("a worker made no step for %s", still.Round(time.Second))
	}
	return nil
}

// ready answers /readyz: what does not run yet. A process that was given no
// task is ready: the others have them all.
func (p *process) ready() []string {
	phase, e := p.state()
	if e == nil {
		return []string{phase}
	}
	var missing []string
	if !e.Assigned() {
		missing = append(missing, "joining the group")
	}
	for _, t := range e.Tasks() {
		if t.State != taskRunning {
			missing = append(missing, describe(t))
		}
	}
	return missing
}

func describe(t control.TaskState) string {
	text := fmt.Sprintf("task %s/%d is %s", t.Stage, t.Partition, t.State)
	if t.RestoreRemaining > 0 {
		text += fmt.Sprintf(", %d changelog records left", t.RestoreRemaining)
	}
	return text
}

// tellProgress logs every few seconds how far the restoring is, until the
// returned function is called.
func (p *process) tellProgress() (stop func()) {
	done := make(chan struct{})
	ticker := time.NewTicker(progressEvery)
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-done:
				return
			}
			if missing := p.ready(); len(missing) > 0 {
				p.log.Info("not ready yet", "tasks", len(missing), "first", missing[0])
			}
		}
	}()
	return func() { close(done) }
}

// transient reports an error of the network, or one that Kafka says goes away.
func transient(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || kerr.IsRetriable(err)
}

// gone reports that a member had left already.
func gone(err error) bool { return errors.Is(err, kerr.UnknownMemberID) }
