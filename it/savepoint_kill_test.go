package it

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// requested are the savepoints that a test asked for, by what became of them.
type requested struct {
	*crew
	ids   []string
	saved []taken
}

// ask asks for a savepoint and does not wait for it.
func (r *requested) ask() {
	r.t.Helper()
	n := len(r.ids)
	id := fmt.Sprintf("20260101T%02d%02d%02dZ-%04x", n/3600, n/60%60, n%60, n)
	r.output("savepoint", r.Name, "--wait=false", "--id", id)
	r.ids = append(r.ids, id)
}

// settle waits for the result of every request. Only what is SAVED counts, and
// is whole; of all others there is nothing under their names, or it is listed as
// claimed by nobody.
func (r *requested) settle() {
	r.t.Helper()
	saved := map[string]bool{}
	failed := map[string]int{}
	for _, id := range r.ids {
		_, stderr, code := r.command("savepoint", r.Name, "--id", id)
		switch code {
		case 0:
			saved[id] = true
		case 1:
			_, reason, _ := strings.Cut(strings.TrimSpace(stderr), id)
			failed[reason]++
		default:
			r.t.Errorf("savepoint %s: exit code %d, %s", id, code, stderr)
		}
	}
	r.t.Logf("%d of %d savepoints were saved; the others: %v", len(saved), len(r.ids), failed)

	var list struct {
		Savepoints []struct {
			ID      string
			Claimed *bool
			Problem string
		}
	}
	must(r.t, json.Unmarshal([]byte(r.output("savepoints", "--json")), &list))
	listed := map[string]bool{}
	for _, s := range list.Savepoints {
		listed[s.ID] = true
		if s.Claimed == nil || *s.Claimed != saved[s.ID] || s.Problem != "" {
			r.t.Errorf("savepoint %s is listed as %+v; saved: %v", s.ID, s, saved[s.ID])
		}
	}
	dir := filepath.Join(filepath.Dir(r.file), "savepoints")
	for _, id := range r.ids {
		there := exists(filepath.Join(dir, id))
		if there != listed[id] || saved[id] && !there {
			r.t.Errorf("savepoint %s: saved %v, listed %v, a directory %v", id, saved[id], listed[id], there)
		}
		if saved[id] {
			r.output("savepoint-verify", id)
			r.saved = append(r.saved, r.inspect(id))
		}
	}
}

// TestSavepointKilled takes a savepoint every two seconds under load, while
// processes are killed with -9 at random moments. The output stays exact; each
// savepoint that is said to be saved holds the model's state at its offsets, and
// the job starts from it.
func TestSavepointKilled(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{Template: tallying(1, 100*time.Millisecond)})
	j.watch()
	random := rand.New(rand.NewPCG(run.seed, 2))
	g := newGenerator(run.seed, 5000)
	j.produce(g.arm()...)
	feed := j.feed(g, 1000)
	c := newCrew(j, 3)
	c.startAll()
	j.waitOutput(g.rooms, time.Minute)

	r := &requested{crew: c}
	kills := 0
	save, kill := time.Now(), time.Now()
	for end := time.Now().Add(soak(15*time.Second, time.Minute)); time.Now().Before(end); {
		if save.Before(kill) {
			<-time.After(time.Until(save))
			r.ask()
			save = save.Add(2 * time.Second)
			continue
		}
		// When the kill comes is the test; half of them aim at the savepoint.
		<-time.After(time.Until(kill))
		c.crash(random.IntN(len(c.procs)), random.IntN(8) == 0)
		kills++
		kill = kill.Add(time.Duration(300+random.IntN(4000)) * time.Millisecond)
		if random.IntN(2) == 0 {
			kill = save.Add(time.Duration(random.IntN(400)) * time.Millisecond)
		}
	}
	r.ask() // two that nobody disturbs
	r.ask()
	r.settle()
	t.Logf("%d kills", kills)
	if len(r.saved) < 2 {
		t.Error("hardly any savepoint was saved: this proves little")
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)

	lives := []*life{{step: 1, saved: r.saved}}
	for i := range int(soak(1, 5)) {
		now := lives[len(lives)-1]
		now.to = c.stop()
		s := r.saved[random.IntN(len(r.saved))]
		next, err := rise(j.read(j.In), lives[0], s, 1000*now.step)
		must(t, err)
		lives = append(lives, next)
		j.write(tallying(next.step, 100*time.Millisecond))
		c.startAll("--savepoint", s.id, "--again")
		c.crash(i%len(c.procs), true)
		// Before a task's first commit the offsets are those of the life before.
		j.waitSwept(len(lives), j.Partitions, "begun", hasBegun)
		j.waitDone(time.Minute)
	}
	c.rest(lives)
}
