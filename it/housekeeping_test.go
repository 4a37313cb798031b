package it

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listing is what `procd savepoints --json` says of one savepoint.
type listing struct {
	ID      string
	Claimed bool
}

func (j *job) savepoints() map[string]listing {
	j.t.Helper()
	var output struct{ Savepoints []listing }
	must(j.t, json.Unmarshal([]byte(j.output("savepoints", "--json")), &output))
	all := map[string]listing{}
	for _, l := range output.Savepoints {
		all[l.ID] = l
	}
	return all
}

// TestSchedule lets a job take savepoints by itself: they come and go, and one
// that a person asked for stays.
func TestSchedule(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.edit("job: ", "savepoints: {every: 1s, keep: 2}\njob: ")
	p := j.start()
	j.says(p, 20*time.Second, "msg=running")
	asked := j.savepoint("savepoint").id
	seen := map[string]bool{}
	j.eventually(time.Minute, func() error {
		for id, l := range j.savepoints() {
			seen[id] = seen[id] || l.Claimed
		}
		if len(seen) < 6 {
			return fmt.Errorf("seen %v", seen)
		}
		return nil
	})
	j.interrupt(p)
	now := j.savepoints()
	if len(now) > 1+2+1 { // one may have been on its way
		t.Errorf("%d savepoints are kept: %v", len(now), now)
	}
	if !now[asked].Claimed {
		t.Errorf("%s, which was asked for, is not there: %v", asked, now)
	}
	t.Logf("%d savepoints came, %d are left", len(seen), len(now))
}

// TestRemoveTheBase removes the savepoint that a job began with as soon as the
// job does without it, and not before; a restart with the old arguments joins.
func TestRemoveTheBase(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, 300)
	j.produce(g.arm()...)
	feed := j.feed(g, feedRate/4)
	p := j.start()
	j.waitOutput(500, time.Minute)
	base := j.savepoint("savepoint-and-stop").id
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if _, stderr, code := j.command("savepoint-rm", base); code != 3 || !strings.Contains(stderr, "is stopped at it") {
		t.Errorf("removed where the job is stopped: exit code %d, %s", code, stderr)
	}
	// A directory that only looks like the one of the coordinator that died.
	left := filepath.Join(filepath.Dir(j.file), "savepoints", "."+base+".9.tmp")
	must(t, os.MkdirAll(left, 0o755))

	p = j.start("--savepoint", base)
	j.eventually(time.Minute, func() error {
		if status := j.output("status", j.Name); !strings.Contains(status, "is detached from it") {
			return fmt.Errorf("status: %s", status)
		}
		return nil
	})
	j.eventually(time.Minute, func() error {
		if exists(left) {
			return fmt.Errorf("%s is still there", left)
		}
		return nil
	})
	j.output("savepoint-rm", base)
	p.Kill()
	j.ended[p] = true
	p = j.start("--savepoint", base)
	j.waitOutput(j.out.Count()+500, time.Minute)
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(p)
	h := newHistory()
	must(t, h.pass(j.read(j.In), nil, nil, eager))
	must(t, sameAlarms(j.read(j.Out), h.alarms))
	j.output("stop", j.Name)
	if _, stderr, code := j.command("start", j.file, "--savepoint", base); code != 3 || !strings.Contains(stderr, "--resume") {
		t.Errorf("started after a stop: exit code %d, %s", code, stderr)
	}
}
