package it

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

// TestPortableKilled starts a job from an exported savepoint on an empty disk,
// and kills it with -9: in the middle of filling the stores, while they are swept
// into the changelog, with the disk lost before that is through. The state stays
// the model's, and so does the output.
func TestPortableKilled(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, 200_000) // so that filling takes a moment
	j.produce(g.arm()...)
	feed := j.feed(g, feedRate)
	p := j.start()
	j.waitOutput(1000, time.Minute)
	native := j.savepoint("savepoint-and-stop")
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("the job ended with %d", code)
	}
	dir := filepath.Dir(j.file)
	j.output("savepoint-export", native.id, "portable")
	exported := j.inspect("portable")
	must(t, sameRooms(exported, native.rooms))
	if !maps.Equal(exported.offsets, native.offsets) {
		t.Errorf("exported at %v, taken at %v", exported.offsets, native.offsets)
	}

	// Nothing is left but the export.
	must(t, os.RemoveAll(filepath.Join(dir, "savepoints")))
	must(t, os.RemoveAll(j.data))
	start := func() *kafkatest.Process { return j.start("--savepoint", "portable") }
	kill := func(p *kafkatest.Process) {
		p.Kill()
		j.ended[p] = true
	}
	for filling, tries := 0, 0; filling < 3; tries++ {
		if tries == 20 {
			t.Fatalf("only %d of %d kills met a store being filled", filling, tries)
		}
		p := start()
		j.eventually(time.Minute, func() error {
			if len(j.beingFilled()) == 0 && !runs.MatchString(p.Stderr.String()) {
				return errors.New("no store is being filled")
			}
			return nil
		})
		kill(p)
		if len(j.beingFilled()) > 0 {
			filling++
		}
	}
	for _, lost := range []bool{false, true} {
		p := start()
		if _, err := p.Stderr.WaitFor(within(t, time.Minute), runs); err != nil {
			t.Fatal(err)
		}
		kill(p)
		if lost {
			must(t, os.RemoveAll(j.data))
		}
	}
	p = start()
	j.waitOutput(j.out.Count()+1000, time.Minute)

	// Once detached, the changelog alone is the state.
	j.eventually(time.Minute, func() error {
		var status struct{ Detached bool }
		must(t, json.Unmarshal([]byte(j.output("status", j.Name, "--json")), &status))
		if !status.Detached {
			return errors.New("not detached yet")
		}
		return nil
	})
	kill(p)
	must(t, os.RemoveAll(j.data))
	must(t, os.RemoveAll(filepath.Join(dir, "portable")))
	p = j.start()
	must(t, feed.stop())
	j.waitDone(time.Minute)
	last := j.savepoint("savepoint-and-stop")
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("the job ended with %d", code)
	}

	input := j.read(j.In)
	h := newHistory()
	must(t, h.pass(input, nil, native.offsets, eager))
	must(t, sameRooms(native, h.rooms))
	must(t, h.pass(input, native.offsets, nil, eager))
	must(t, sameRooms(last, h.rooms))
	must(t, sameAlarms(j.read(j.Out), h.alarms))
	j.verifySettled()
}

// runs is what a process says when the first of its tasks runs.
var runs = regexp.MustCompile(`msg="task runs"`)

// beingFilled are the directories of stores that are not complete.
func (j *job) beingFilled() []string {
	j.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(j.data, j.Name, "seat-*", "g2", "arm", "*.restore"))
	must(j.t, err)
	return dirs
}
