package kstate

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// openCheckpoint opens the files of a checkpoint as a database.
func openCheckpoint(t testing.TB, env *Env, dir string) *DB {
	t.Helper()
	db, err := env.openDB(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// A checkpoint holds what is committed, written or not, and nothing of the open
// transaction; its own position says so (P14, S7).
func TestS7Checkpoint(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "flushed", counter{N: 1})
	set(t, s, "gone", counter{N: 1})
	commit(t, s, log)
	s.StartFlush()
	set(t, s, "unwritten", counter{N: 2})
	s.Clear(load(t, s, "gone"))
	commit(t, s, log)
	set(t, s, "uncommitted", counter{N: 3})
	pos, err := s.Checkpoint("/data/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	if pos.Changelog != log.end() || len(pos.Sources) != 1 || pos.Sources[0] != testSources(log.end())[0] {
		t.Errorf("position %v, want changelog %d", pos, log.end())
	}
	db := openCheckpoint(t, env, "/data/checkpoint")
	wantSame(t, "checkpoint", onDisk(t, db), log.content(log.end()))
	if at, _, found, err := db.readMeta(); err != nil || !found || at.position.Changelog != pos.Changelog {
		t.Errorf("it says position %v, %v, %v", at.position, found, err)
	}
	// The transaction goes on.
	commit(t, s, log)
	if v, ok := get(t, s, "uncommitted"); !ok || v.N != 3 {
		t.Errorf("after the checkpoint: %v, %v", v, ok)
	}
	closeStore(t, s, true)
}

func TestCheckpointRefuses(t *testing.T) {
	memory := NewStore("store", counterType{}, StoreOptions{})
	if _, err := memory.Checkpoint("/data/checkpoint"); !errors.Is(err, ErrOrder) {
		t.Errorf("in memory: %v", err)
	}
	env := newTestEnv(t, EnvOptions{})
	s := openStore(t, env, counterType{}, &changelog{})
	if err := env.mkdir("/data/there"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint("/data/there"); err == nil {
		t.Error("a checkpoint into a directory that is there")
	}
	closeStore(t, s, true)
}

// StartFlush covers what is committed when it is called, even where an earlier
// write is still under way, and Flushed is enough to go on with it.
func TestStartFlush(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	s.StartFlush()
	if !s.Flushed() {
		t.Error("nothing to flush, and not flushed")
	}
	for i := range 3 {
		set(t, s, fmt.Sprint("key-", i), counter{N: 1})
		commit(t, s, log)
		s.StartFlush() // the first is under way when the others are asked for
	}
	want := s.pos.Changelog
	deadline := time.After(10 * time.Second)
	for !s.Flushed() {
		select {
		case <-deadline:
			t.Fatal("never flushed")
		default:
		}
	}
	if got := s.db.Position().Changelog; got < want {
		t.Errorf("flushed up to %d, want at least %d", got, want)
	}
	closeStore(t, s, false)
}

func TestInstance(t *testing.T) {
	fs := vfs.NewMem()
	env := newTestEnv(t, EnvOptions{FS: fs})
	log := localCopy(t, env)
	instance := func() string {
		db := restoreDB(t, env, log)
		id := db.Instance()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := instance()
	if len(first) < 20 {
		t.Fatalf("instance %q", first)
	}
	if got := instance(); got != first {
		t.Errorf("opened again it is %q, was %q", got, first)
	}
	for what, content := range map[string]string{"none": "", "half of one": first[:10]} {
		writeFile(t, fs, testDir+"/"+instanceFile, content)
		got := instance()
		if len(got) != len(first) || got == first {
			t.Errorf("with %s: %q", what, got)
		}
		if again := instance(); again != got {
			t.Errorf("with %s: not kept", what)
		}
	}
	if err := fs.RemoveAll(testDir); err != nil {
		t.Fatal(err)
	}
	if got := instance(); got == first {
		t.Error("a new database has the id of the old one")
	}
}

// The tables of a checkpoint stay in the store's directory until compactions are
// far behind, so that a savepoint copies them once and a start links them (P15).
func TestP15TablesOfACheckpointStay(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	write := func() {
		t.Helper()
		for _, key := range []string{"a", "z"} { // each write spans all others
			s.BeginRecord()
			set(t, s, key, counter{N: log.end()})
		}
		commit(t, s, log)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if _, err := s.Checkpoint("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	tables := func(dir string) (names []string) {
		t.Helper()
		all, err := env.fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(name string) bool { return !isTable(name) })
	}
	kept := tables("/data/checkpoint")
	if len(kept) == 0 {
		t.Fatal("the checkpoint has no tables")
	}
	for s.db.sublevels() < restLimit-1 {
		write()
	}
	for _, name := range kept {
		if !slices.Contains(tables(testDir), name) {
			t.Errorf("table %s is gone after %d writes", name, s.db.sublevels())
		}
	}
	// The rest ends, or savepoints every minute would end compactions for ever.
	deadline := time.Now().Add(10 * time.Second)
	for s.db.sublevels() >= restLimit-1 && time.Now().Before(deadline) {
		write()
	}
	if n := s.db.sublevels(); n >= restLimit-1 {
		t.Errorf("%d tables on top of each other, and nothing is compacted", n)
	}
	closeStore(t, s, true)
}
