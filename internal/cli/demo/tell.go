package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	actTime = 1500 * time.Millisecond // how long each act is looked at
	actWait = 30 * time.Second        // how long something may take to happen
	askAll  = 20 * time.Millisecond
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
	for _, act := range []func(context.Context) error{s.eager, s.killed, s.saved, s.pitStop, s.back} {
		if err := act(ctx); err != nil {
			return s.result, err
		}
	}
	end()
	if err := <-fed; err != nil {
		return s.result, err
	}
	if err := s.until(ctx, "all events are processed", s.processed(ends(s.feed.written()))); err != nil {
		return s.result, err
	}
	if err := s.stop(ctx); err != nil {
		return s.result, err
	}
	return s.verdict(ctx)
}

// eager: version 1 runs.
func (s *story) eager(ctx context.Context) error {
	if err := s.start(ctx, "a", v1File); err != nil {
		return err
	}
	if err := s.until(ctx, "process a runs", s.running); err != nil {
		return err
	}
	if err := s.watch(ctx, 0); err != nil {
		return err
	}
	s.say("version 1 rings too eagerly: whoever switches an alarm on has to leave the room first")
	return nil
}

// killed: a second process takes its part, dies without a word and comes back.
func (s *story) killed(ctx context.Context) error {
	if err := s.start(ctx, "b", v1File); err != nil {
		return err
	}
	if err := s.until(ctx, "process b has its part", s.running); err != nil {
		return err
	}
	s.say("a second process of the same job has taken its part of the work")
	b := s.alive[1]
	b.kill()
	s.alive = s.alive[:1]
	s.say("kill -9 %d: it is gone, without a word; it is started again", b.cmd.Process.Pid)
	began, before := time.Now(), s.reader.count()
	if err := s.start(ctx, "b", v1File); err != nil {
		return err
	}
	if err := s.until(ctx, "process b is back", s.running); err != nil {
		return err
	}
	s.say("after %s it is back, with its state; the other one did not wait: %d alarms meanwhile", seconds(time.Since(began)), s.reader.count()-before)
	return nil
}

// saved: a savepoint to come back to, and a look at what it is good for.
func (s *story) saved(ctx context.Context) (err error) {
	if s.older, s.plot.older, err = s.savepoint(ctx, "savepoint", "a way back; the job goes on"); err != nil {
		return err
	}
	s.say("version 2 gives five seconds to leave; one line differs:%s", changed(s.V1, s.V2))
	if _, err := s.command(ctx, "would version 2 start from it?", "savepoint-check", "latest", v2File); err != nil {
		return err
	}
	return pause(ctx, actTime/2)
}

// pitStop: the job stops at a savepoint, and version 2 goes on from there.
func (s *story) pitStop(ctx context.Context) (err error) {
	if _, s.plot.stopped, err = s.savepoint(ctx, "savepoint-and-stop", "atomically"); err != nil {
		return err
	}
	if err := s.left(); err != nil {
		return err
	}
	mark, err := s.mark(ctx)
	if err != nil {
		return err
	}
	if err := s.startBoth(ctx, "latest"); err != nil {
		return err
	}
	if err := s.until(ctx, "all partitions ring again", func(context.Context) (bool, error) {
		downtime, rung := silence(s.reader.since(0), mark)
		s.result.Downtime = downtime.Seconds()
		return rung == partitions, nil
	}); err != nil {
		return err
	}
	s.say("version 2 goes on: no partition was without alarms for longer than %.2f s, %s", s.result.Downtime, judged(s.result.Downtime))
	if err := s.watch(ctx, mark); err != nil {
		return err
	}
	if _, err = s.command(ctx, "", "savepoints"); err != nil {
		return err
	}
	return s.until(ctx, "both processes run", s.running)
}

// back: version 2 as if it had run since the older savepoint.
func (s *story) back(ctx context.Context) (err error) {
	if err := s.stop(ctx); err != nil {
		return err
	}
	if s.plot.back, err = s.committed(ctx); err != nil {
		return err
	}
	mark, err := s.mark(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.startBoth(ctx, s.older); err != nil {
		return err
	}
	if err := s.until(ctx, "the past rings again", func(context.Context) (bool, error) {
		return again(s.reader.since(0), mark), nil
	}); err != nil {
		return err
	}
	s.say("back at the older savepoint: after %s the %d events since then have been processed again, by the new rules",
		seconds(time.Since(began)), between(s.plot.older, s.plot.back))
	if err := s.watch(ctx, mark); err != nil {
		return err
	}
	return s.until(ctx, "both processes run", s.running)
}

// judged compares a downtime, in seconds, with what a pit stop may take. On a
// machine that is busy otherwise it may take longer: that is said, and no error.
func judged(downtime float64) string {
	if downtime > 2 {
		return "which is above the bar of two seconds: is the machine busy?"
	}
	return "below the bar of two seconds"
}

// startBoth starts version 2 in two processes, from a savepoint: the first
// begins, the second joins.
func (s *story) startBoth(ctx context.Context, savepoint string) error {
	s.show("procd start --savepoint "+savepoint+" "+v2File, "in two terminals")
	for _, name := range []string{"a", "b"} {
		if err := s.start(ctx, name, "--savepoint", savepoint, v2File); err != nil {
			return err
		}
	}
	return nil
}

// examples is how many early alarms are shown of each act.
const examples = 3

// watch lets an act play for a while and says what rang since a mark.
func (s *story) watch(ctx context.Context, mark int) error {
	if err := pause(ctx, actTime); err != nil {
		return err
	}
	rings, soon := s.reader.since(mark), early(s.feed.written())
	n, shown := 0, ""
	for _, r := range rings {
		if after, ok := soon[r.Room][r.Time]; ok {
			if n++; n <= examples {
				shown += fmt.Sprintf("\n        room %d rings %.1f s after it was switched on", r.Room, float64(after)/1000)
			}
		}
	}
	s.say("%d alarms, %d of them in the first five seconds after switching on%s", len(rings), n, shown)
	return nil
}

// mark is the number of alarms so far, with all that are committed.
func (s *story) mark(ctx context.Context) (int, error) {
	err := s.until(ctx, "all alarms are read", s.allRead)
	return s.reader.count(), err
}

// stop ends the job.
func (s *story) stop(ctx context.Context) error {
	if _, err := s.command(ctx, "", "stop", jobName); err != nil {
		return err
	}
	return s.left()
}

// left waits for the processes, which have been told to leave.
func (s *story) left() error {
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
	return nil
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
		if err := pause(ctx, askAll); err != nil {
			return fmt.Errorf("waiting until %s: %w", what, errors.Join(err, last))
		}
	}
}

// verdict compares. Nothing runs any more.
func (s *story) verdict(ctx context.Context) (Result, error) {
	if _, err := s.mark(ctx); err != nil {
		return s.result, err
	}
	found := map[int][]int64{}
	for _, r := range s.reader.since(0) {
		found[r.Room] = append(found[r.Room], r.Time)
	}
	past := s.feed.written()
	s.result.Verdict, s.result.Events = judge(expected(past, s.plot), found), len(past)
	s.result.Seconds = time.Since(s.began).Seconds()
	how := "nothing lost, nothing doubled"
	if !s.result.Right() {
		how = fmt.Sprintf("%d lost, %d doubled, %d wrong", s.result.Lost, s.result.Doubled, s.result.Wrong)
	}
	s.say("checked: %d events, %d alarms, and an independent model says %d: %s", s.result.Events, s.result.Found, s.result.Expected, how)
	return s.result, nil
}

// changed are the lines of the job that version 2 has instead of others.
func changed(v1, v2 string) string {
	body := func(file string) []string {
		_, job, _ := strings.Cut(file, "job: ")
		job, _, _ = strings.Cut(job, "tests:")
		return strings.Split(job, "\n")
	}
	text, old, now := "", body(v1), body(v2)
	for i := range min(len(old), len(now)) {
		if old[i] != now[i] {
			text += fmt.Sprintf("\n        - %s\n        + %s", old[i], now[i])
		}
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
