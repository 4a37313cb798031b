package control

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/procd/procd/savepoint"
)

func TestInUse(t *testing.T) {
	began := Generation{Job: testJob, Generation: 2, Run: 2, Savepoint: &SavepointRef{ID: one}}
	for _, c := range []struct {
		name  string
		state State
		id    string
		want  string
	}{
		{"the base", State{State: Running, Run: 2}, one, "generation 2 of alarm began with it, and still reads state from it"},
		{"the base of a stopped job", State{State: Stopped, Run: 2}, one, "generation 2 of alarm began with it, and still reads state from it"},
		{"the base of what was reset", State{State: Reset, Run: 2}, one, ""},
		{"where it stopped", State{State: Stopped, Run: 2, Savepoint: two}, two, "alarm is stopped at it"},
		{"where it had stopped", State{State: Running, Run: 3, Savepoint: two}, two, ""},
		{"another one", State{State: Running, Run: 2}, two, ""},
	} {
		v := &View{}
		put(t, v, began)
		put(t, v, c.state)
		if use, ok := v.InUse(c.id); use.Reason != c.want || ok != (c.want != "") || ok && use.Hint == "" {
			t.Errorf("%s: %+v, %v", c.name, use, ok)
		}
		// What another generation is detached from says nothing of this one's.
		put(t, v, Detached{Generation: 1})
		if _, ok := v.InUse(c.id); ok != (c.want != "") {
			t.Errorf("%s, generation 1 detached: in use: %v", c.name, ok)
		}
		put(t, v, Detached{Generation: 2})
		if _, ok := v.InUse(c.id); ok != (c.want == "alarm is stopped at it") {
			t.Errorf("%s, detached: in use: %v", c.name, ok)
		}
	}
}

// Every process may find out that the generation is detached.
func TestDetached(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	b.mustBegin(statelessJob("h1"), StartOptions{})
	b.stop()
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 1, 2, 3, 4, 5))
	l := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: chosen})
	if s, err := b.plane().Status(b.context()); err != nil || s.Savepoint != savepointA || s.Detached {
		t.Errorf("status %+v, %v", s, err)
	}
	for range 2 {
		if err := l.Detached(b.context()); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := b.plane().Status(b.context()); err != nil || s.Savepoint != savepointA || !s.Detached {
		t.Errorf("status %+v, %v", s, err)
	}
	if keys := b.keys(); keys["detached/2"] == 0 || keys["detached/2"] > 2 {
		t.Errorf("records %v", keys)
	}
	if err := b.plane().Release(b.context(), savepointA); err != nil {
		t.Error(err)
	}
}

// A job may begin with the savepoint of another one: nobody removes it then, and
// its result stays.
func TestReleaseAsksEveryJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir := t.TempDir()
	b.mustBegin(statelessJob("h1"), StartOptions{})
	chosen := b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5))
	b.saved(savepointA)

	other := b.plane(func(s *Settings) { s.Job = "other" })
	if _, err := other.begin(b.context(), statelessJob("h1"), b.seat(), StartOptions{Savepoint: chosen}); err != nil {
		t.Fatal(err)
	}
	var refused *Refused
	err := b.plane().Release(b.context(), savepointA)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "generation 1 of other began with it") {
		t.Errorf("released: %v", err)
	}
	if v, err := b.plane().View(b.context()); err != nil || !v.Saved(savepointA) {
		t.Errorf("the result is gone; %v", err)
	}
	if _, err := other.Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Reset(b.context(), ResetOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.plane().Release(b.context(), savepointA); err != nil {
		t.Error(err)
	}
	if v, err := b.plane().View(b.context()); err != nil || v.Saved(savepointA) {
		t.Errorf("the result is still there; %v", err)
	}
}

// A savepoint that is removed while a start decides: either the start keeps it,
// or it fails and leaves nothing.
func TestRemovedWhileAStartDecides(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir := t.TempDir()
	b.mustBegin(statelessJob("h1"), StartOptions{})
	b.stop()
	chosen := b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5))
	if err := os.Rename(chosen.Path, chosen.Path+"-gone"); err != nil {
		t.Fatal(err)
	}
	_, err := b.begin(statelessJob("h1"), StartOptions{Savepoint: chosen})
	if !errors.Is(err, savepoint.ErrNotFound) {
		t.Errorf("started: %v", err)
	}
	if v, err := b.plane().View(b.context()); err != nil || len(v.Generations()) != 1 {
		t.Errorf("a generation began; %v", err)
	}
	topics, err := b.plane().generationTopics(b.context())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		if strings.HasPrefix(topic.Name, generationPrefix(testJob, 2)) {
			t.Errorf("left behind: %s", topic.Name)
		}
	}
}

// saved writes a SAVED result.
func (b *bench) saved(id string) {
	b.t.Helper()
	var list entryList
	add(&list, resultKey(id), Result{Request: Request{ID: id, Run: 1, At: b.now()}, Saved: true, Finished: b.now()})
	p := b.plane()
	if _, err := p.View(b.context()); err != nil {
		b.t.Fatal(err)
	}
	if err := p.write(b.context(), list.entries[0].key, list.entries[0].value); err != nil {
		b.t.Fatal(err)
	}
}
