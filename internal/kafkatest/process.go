package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a running child. Its methods are safe for concurrent use.
type Process struct {
	// Stdout and Stderr hold what the child printed so far.
	Stdout, Stderr *Log

	cmd     *exec.Cmd
	started time.Time
	done    chan struct{} // closed when the child was reaped
	code    int           // valid after done; -1 when a signal ended it
}

// spawner is the one operating system thread that starts children. The kernel
// sends a child its death signal when the *thread* that made it ends, so that
// thread must live as long as the process (golang.org/issue/27505).
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startProcess runs cmd, which must not have Stdout, Stderr or SysProcAttr set.
func startProcess(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Stdout: newLog(), Stderr: newLog(), cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // Ctrl-C in a terminal is for the tests, which then end the child in order
	}
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("procd/kafkatest: starting %s: %w", cmd.Path, err)
	}
	p.started = time.Now()
	go p.reap()
	return p, nil
}

func (p *Process) reap() {
	// The error repeats the exit code; what the child had to say is in Stderr.
	_ = p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	p.Stdout.close()
	p.Stderr.close()
	close(p.done)
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Started is when the child was started.
func (p *Process) Started() time.Time { return p.started }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether the child has not ended yet. A stopped one is running.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends sig to the child and to nobody else. A child that has ended
// already is no error: faults race with ends.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill is kill -9, and returns when the child is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Pause stops the child as it stands, as a long garbage collection or a frozen
// virtual machine does; [Process.Continue] lets it go on.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Continue ends a [Process.Pause].
func (p *Process) Continue() error { return p.Signal(syscall.SIGCONT) }

// Paused says whether the child stands still after a [Process.Pause].
func (p *Process) Paused() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return false
	}
	// pid (name) state ...; the name may hold anything (proc_pid_stat(5)).
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	return strings.HasPrefix(rest, "T")
}

// Wait waits for the child to end and returns its exit code, -1 when a signal
// ended it.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-p.done:
		return p.code, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("procd/kafkatest: process %d still runs after %v: %w",
			p.PID(), time.Since(p.started).Round(time.Millisecond), ctx.Err())
	}
}

// Stop sends sig, waits for the child to end and returns its exit code. After
// timeout it is killed, which is an error.
func (p *Process) Stop(sig os.Signal, timeout time.Duration) (code int, err error) {
	if err := p.Signal(sig); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	code, err = p.Wait(ctx)
	if err != nil {
		p.Kill()
	}
	return code, err
}
