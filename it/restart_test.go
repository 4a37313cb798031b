package it

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

const manyKeys = 100_000

// TestRestartWithDisk kills a process with 100,000 keys and starts it again on
// its disk: its first new output must be committed within a second of process
// start, and only the changelog's tail be read.
func TestRestartWithDisk(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, manyKeys)
	j.produce(g.arm()...)
	p := j.metered(j.data)
	j.waitDone(time.Minute)
	p.waitWritten()

	// The machine runs other things too; the promise is about procd.
	const attempts = 3
	var took []time.Duration
	for len(took) < attempts {
		p.Kill()
		before := j.out.Count()
		g.time += 2 * ringAfter
		j.produce(g.events(2000)...)
		p = j.metered(j.data)
		j.waitOutput(before, 30*time.Second)
		took = append(took, time.Since(p.Started()))
		j.waitDone(time.Minute)
		if restored := p.sum("procd_restored_records_total"); restored > manyKeys/10 {
			t.Errorf("%v changelog records were read, of at least %d", restored, manyKeys)
		}
		p.waitWritten()
		if took[len(took)-1] < time.Second {
			break
		}
	}
	t.Logf("process start to first new output: %v", took)
	if took[len(took)-1] >= time.Second {
		t.Errorf("first new output after %v", took)
	}
	j.interrupt(p.Process)
	j.verify()
}

// waitWritten waits until all committed state is on the local disk.
func (m metered) waitWritten() {
	m.t.Helper()
	eventually(m.t, 30*time.Second, func() error {
		// Sizes are counted now and then: at first there is nothing, written or not.
		if m.sum("procd_state_entries") == 0 {
			return errors.New("no state is counted yet")
		}
		if left := m.sum("procd_state_bytes", "place", "unwritten"); left > 0 {
			return fmt.Errorf("%v bytes not on disk yet", left)
		}
		return nil
	})
}

// TestRestoreLeavesOthersAlone deletes the disk of one of two processes: while
// its tasks are restored the other's go on.
func TestRestoreLeavesOthersAlone(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, manyKeys)
	j.produce(g.arm()...)
	a, lost := j.start(), j.data+"-b"
	b := j.metered(lost)
	j.waitMembers(2)
	j.waitAssigned(2)
	j.waitDone(time.Minute)

	kept := j.assignedTo(j.identity(j.data))
	feed := j.feed(g, feedRate)
	b.Kill()
	must(t, os.RemoveAll(lost))
	b = j.metered(lost)
	moved, err := j.committedAt()
	must(t, err)
	gap := j.longestGap(kept, func() error {
		if err := j.wantSeats(2); err != nil {
			return err
		}
		if b.sum("procd_restored_records_total") == 0 {
			return errors.New("nothing was restored yet")
		}
		at, err := j.committedAt()
		for p := range at {
			if at[p] <= moved[p] {
				return fmt.Errorf("partition %d stands at %d", p, at[p])
			}
		}
		return err
	})
	t.Logf("longest gap between commits of a partition that stayed: %v", gap)
	if gap > 3*time.Second {
		t.Errorf("tasks that stayed stood still for %v", gap)
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(a, b.Process)
	j.verify()
	j.verifyStores(j.read(j.In), lost)
}

// longestGap watches the commits of partitions until done returns nil, and
// returns the longest time that one of them did not advance. The input must go
// on.
func (j *job) longestGap(partitions []int32, done func() error) (longest time.Duration) {
	j.t.Helper()
	last, since := map[int32]int64{}, map[int32]time.Time{}
	look := func() error {
		at, err := j.committedAt()
		if err != nil {
			return err
		}
		now := time.Now()
		for _, p := range partitions {
			if at[p] > last[p] || since[p].IsZero() {
				last[p], since[p] = at[p], now
			}
			longest = max(longest, now.Sub(since[p]))
		}
		return nil
	}
	j.eventually(time.Minute, func() error {
		if err := look(); err != nil {
			return err
		}
		return done()
	})
	must(j.t, look())
	return longest
}
