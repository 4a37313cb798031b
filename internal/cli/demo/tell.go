package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

const (
	actTime = 1500 * time.Millisecond // how long each act is looked at
	actWait = 15 * time.Second        // how long something may take to happen
	askAll  = 50 * time.Millisecond
	// quiet is how long no alarm came, when all is committed, before none is
	// on its way to the reader any more.
	quiet = 300 * time.Millisecond
)

// tell plays the story to its end.
func (s *story) tell(ctx context.Context) (Result, error) {
	play, end := context.WithCancel(ctx)
	defer end()
	fed := make(chan error, 1)
	go func() { fed <- s.feed.run(play) }()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	go s.reader.run(reading)

	s.say("a broker runs on %s, in memory; %d rooms write events to %s, %d partitions", s.broker.addr, rooms, sourceTopic, partitions)
	for _, act := range []func(context.Context) error{s.alone, s.together, s.killed} {
		if err := act(ctx); err != nil {
			return Result{}, err
		}
	}
	end()
	if err := <-fed; err != nil {
		return Result{}, err
	}
	if err := s.until(ctx, "everything is committed", s.committed); err != nil {
		return Result{}, err
	}
	return s.verdict(ctx)
}

// alone: one process has all the work.
func (s *story) alone(ctx context.Context) error {
	if _, err := s.procd("a"); err != nil {
		return err
	}
	if err := s.until(ctx, "process a runs", s.shared(1)); err != nil {
		return err
	}
	s.say("process a started: %s", s.shares(ctx))
	return s.watch(ctx)
}

// together: a second process takes its part.
func (s *story) together(ctx context.Context) error {
	if _, err := s.procd("b"); err != nil {
		return err
	}
	s.say("a second process starts and takes its part of the work")
	if err := s.until(ctx, "process b has its part", s.shared(2)); err != nil {
		return err
	}
	s.say("process b joined: %s", s.shares(ctx))
	return s.watch(ctx)
}

// killed: a process dies without a word and comes back.
func (s *story) killed(ctx context.Context) error {
	b := s.alive[1]
	b.kill()
	s.alive = s.alive[:1]
	s.say("kill -9 %d: process b is gone, without a word", b.cmd.Process.Pid)
	if err := pause(ctx, actTime/3); err != nil {
		return err
	}
	died, _ := s.reader.read()
	if _, err := s.procd("b"); err != nil {
		return err
	}
	began := time.Now()
	if err := s.until(ctx, "process b is back", s.shared(2)); err != nil {
		return err
	}
	now, _ := s.reader.read()
	s.say("process b is back after %s, with its state and its part of the work; a did not wait: %d alarms meanwhile",
		time.Since(began).Round(10*time.Millisecond), now-died)
	return s.watch(ctx)
}

// procd starts a process of the job. One with the same name has the same disk.
func (s *story) procd(name string) (*child, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c, err := spawn(s.Executable, s.dir, name, "start", s.jobFile(),
		"--brokers", s.broker.addr, "--data", filepath.Join(s.dir, name), "--admin", admin)
	if err != nil {
		return nil, err
	}
	c.admin = admin
	if err := c.start(); err != nil {
		return nil, err
	}
	s.alive = append(s.alive, c)
	return c, nil
}

// watch lets an act play for a while.
func (s *story) watch(ctx context.Context) error {
	if err := pause(ctx, actTime); err != nil {
		return err
	}
	events, alarms := s.feed.count()
	found, _ := s.reader.read()
	s.say("%d events in, %d alarms out of %d that are due so far", events, found, alarms)
	return nil
}

// shared says whether so many processes run all tasks between them.
func (s *story) shared(processes int) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		running, all, err := s.running(ctx)
		return len(running) == processes && all == partitions, err
	}
}

// running counts the tasks that run, by process.
func (s *story) running(ctx context.Context) (tasks map[*child]int, all int, err error) {
	tasks = map[*child]int{}
	for _, c := range s.alive {
		n, err := runningTasks(ctx, c.admin)
		if err != nil {
			return nil, 0, fmt.Errorf("ask process %s: %w", c.name, err)
		}
		if n > 0 {
			tasks[c] = n
		}
		all += n
	}
	return tasks, all, nil
}

// shares is "a runs 2 tasks, b runs 2 tasks".
func (s *story) shares(ctx context.Context) string {
	running, _, err := s.running(ctx)
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, c := range s.alive {
		parts = append(parts, fmt.Sprintf("%s (pid %d) runs %d of %d tasks", c.name, c.cmd.Process.Pid, running[c], partitions))
	}
	return strings.Join(parts, ", ")
}

// committed says whether nothing is left to do, and the reader has seen it.
func (s *story) committed(ctx context.Context) (bool, error) {
	status, err := s.plane.Status(ctx)
	if err != nil {
		return false, err
	}
	_, last := s.reader.read()
	return status.Lag == 0 && time.Since(last) > quiet, nil
}

// until waits for something to be so. A process that ends meanwhile ends the
// story.
func (s *story) until(ctx context.Context, what string, so func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, actWait)
	defer cancel()
	var last error
	for {
		yes, err := so(ctx)
		if yes && err == nil {
			return nil
		}
		last = err
		for _, c := range s.alive {
			select {
			case <-c.done:
				return fmt.Errorf("process %s ended by itself with exit code %d", c.name, c.cmd.ProcessState.ExitCode())
			default:
			}
		}
		if pause(ctx, askAll) != nil {
			return fmt.Errorf("waiting until %s: %w (%v)", what, ctx.Err(), last)
		}
	}
}

// verdict stops the job and compares.
func (s *story) verdict(ctx context.Context) (Result, error) {
	s.reader.mu.Lock()
	found, err := s.reader.found, s.reader.err
	s.reader.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	events, _ := s.feed.count()
	result := Result{Verdict: s.feed.house.judge(found), Events: events}
	if err := s.stop(ctx); err != nil {
		return result, err
	}
	s.say("the model says %d alarms, the topic %s holds %d: %d lost, %d doubled, %d wrong",
		result.Expected, outputTopic, result.Found, result.Lost, result.Doubled, result.Wrong)
	result.Seconds = time.Since(s.began).Seconds()
	if result.Right() {
		fmt.Fprintf(s.Out, "\nThe job is %d lines of YAML: `procd init my-job` writes one to change.\n", strings.Count(strings.TrimSpace(s.Job), "\n")+1)
	}
	return result, nil
}

// stop ends the job as `procd stop` does.
func (s *story) stop(ctx context.Context) error {
	if _, err := s.plane.Stop(ctx); err != nil {
		return err
	}
	for _, c := range s.alive {
		code, err := c.code(actWait)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("process %s ended with exit code %d", c.name, code)
		}
	}
	s.alive = nil
	s.say("stopped: both processes committed and left")
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
