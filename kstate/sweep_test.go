package kstate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// attachedStore is generation 2 of a store whose base has the given keys, in
// schema v1.
func attachedStore(t *testing.T, env *Env, log *changelog, keys ...string) *Store[counter] {
	t.Helper()
	old := openStore(t, env, counterType{schema: "v1"}, &changelog{})
	for i, key := range keys {
		set(t, old, key, counter{N: int64(i)})
	}
	commit(t, old, &changelog{})
	base := savepointOf(t, old, []SchemaVersion{{1, "v1"}}).base
	closeStore(t, old, true)
	return openNext(t, env, prepareNext(t, env, log, base), log)
}

type sweepFunc func(cursor []byte, maxKeys int, emit func(key, value []byte) error) (next []byte, done bool, err error)

// sweepAll commits transactions with a step of the sweep each, until it is done.
func sweepAll(t *testing.T, s *Store[counter], log *changelog, step sweepFunc, maxKeys int) (steps int) {
	t.Helper()
	var cursor []byte
	for done := false; !done; steps++ {
		if steps == 100_000 {
			t.Fatal("it never ends")
		}
		var err error
		cursor, done, err = step(cursor, maxKeys, func(key, value []byte) error { log.append(key, value); return nil })
		if err != nil {
			t.Fatal(err)
		}
		commit(t, s, log)
	}
	return steps
}

// parsed is the records of a changelog as text.
func parsed(t *testing.T, log *changelog) (records []string) {
	t.Helper()
	for _, r := range log.records {
		if r == nil {
			continue
		}
		c, err := ParseChangelog(r.key, r.value)
		switch {
		case err != nil:
			t.Fatal(err)
		case c.Schema:
			records = append(records, fmt.Sprintf("schema %d", c.Version))
		case c.Marker:
			records = append(records, fmt.Sprintf("%s marker", c.Key))
		case c.Deleted:
			records = append(records, fmt.Sprintf("%s tombstone", c.Key))
		default:
			records = append(records, fmt.Sprintf("%s v%d %x", c.Key, c.Version, c.Data))
		}
	}
	return records
}

func wantRecords(t *testing.T, log *changelog, want ...string) {
	t.Helper()
	if got := parsed(t, log); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("changelog\n got %q\nwant %q", got, want)
	}
}

// rawDisk is what is in Pebble, markers and all.
func rawDisk(t *testing.T, db *DB) map[string]string {
	t.Helper()
	m := make(map[string]string)
	err := db.scan(kindValue, func(key, value []byte) error {
		m[string(key)] = fmt.Sprintf("%x", value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The whole way of a partition: sweep, detach, markers. Every key is written
// once, with the schema before it, migrated, and on disk like in the changelog.
func TestP16SweepDetachMarkers(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := attachedStore(t, env, log, "", "b", "c", "d")
	s.Clear(load(t, s, "c"))
	if n := sweepAll(t, s, log, s.Sweep, 2); n != 2 {
		t.Errorf("%d steps of two keys for four keys", n)
	}
	wantRecords(t, log, "schema 2", " v2 006d69677261746564", "b v2 026d69677261746564", "c marker", "d v2 066d69677261746564")
	s.Detach()
	if s.Attached() {
		t.Error("still attached")
	}
	s.Clear(load(t, s, "d"))
	commit(t, s, log)
	sweepAll(t, s, log, s.SweepMarkers, 100)
	wantRecords(t, log, "schema 2", " v2 006d69677261746564", "b v2 026d69677261746564", "c marker", "d v2 066d69677261746564",
		"d tombstone", "c tombstone")
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "disk", rawDisk(t, s.db), map[string]string{"": "02006d69677261746564", "b": "02026d69677261746564"})
	closeStore(t, s, true)
}

// A transaction that both sweeps and changes: the change is last, whatever the
// sweep met, and the schema is written once.
func TestP16SweepWithChanges(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := attachedStore(t, env, log, "a", "b", "c")
	set(t, s, "a", counter{N: 9})
	s.Clear(load(t, s, "b"))
	sweepAll(t, s, log, s.Sweep, 100)
	wantRecords(t, log, "schema 2", "c v2 046d69677261746564", "a v2 12", "b marker")
	set(t, s, "c", counter{N: 8}) // was swept, and is in the same journal
	commit(t, s, log)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "disk", rawDisk(t, s.db), map[string]string{"a": "0212", "b": "00", "c": "0210"})

	s.Detach()
	set(t, s, "b", counter{N: 7})
	s.Clear(load(t, s, "b")) // comes to nothing
	log.records = nil
	sweepAll(t, s, log, s.SweepMarkers, 100)
	wantRecords(t, log, "b tombstone")
	closeStore(t, s, true)
}

// An aborted sweep never was: the next one writes the same again.
func TestP16SweepAborted(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := attachedStore(t, env, log, "a", "b")
	aborted := &changelog{}
	for range 2 {
		aborted.records = nil
		_, _, err := s.Sweep(nil, 100, func(key, value []byte) error { aborted.append(key, value); return nil })
		if err != nil {
			t.Fatal(err)
		}
		s.Abort()
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "disk after the abort", rawDisk(t, s.db), map[string]string{"a": "0100", "b": "0102"})
	want := []string{"schema 2", "a v2 006d69677261746564", "b v2 026d69677261746564"}
	wantRecords(t, aborted, want...)
	sweepAll(t, s, log, s.Sweep, 100)
	wantRecords(t, log, want...)
	closeStore(t, s, true)
}

// What one sweep adds to a transaction is bounded in bytes, too.
func TestP16SweepBytes(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := attachedStore(t, env, log, "a", "b", "c")
	large := strings.Repeat("x", sweepBytes)
	for _, key := range []string{"a", "b", "c"} {
		set(t, s, key, counter{Name: large})
	}
	commit(t, s, log)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := sweepAll(t, s, log, s.Sweep, 100); n != 3 {
		t.Errorf("%d steps for three values of a MiB", n)
	}
	closeStore(t, s, true)
}

// A value that cannot be migrated names its key, and moves nothing.
func TestP16SweepOfBadValue(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	s := attachedStore(t, env, &changelog{}, "a", "b")
	s.versions[1] = "v0"
	cursor := []byte{kindValue, 'b'}
	next, done, err := s.Sweep(cursor, 100, func(_, _ []byte) error { return nil })
	var bad *KeyError
	if !errors.As(err, &bad) || string(bad.Key) != "b" || done || string(next) != string(cursor) {
		t.Errorf("Sweep: %q, %v, %v", next, done, err)
	}
	s.Abort()
	if _, _, err := s.SweepMarkers(nil, 100, nil); !errors.Is(err, ErrOrder) {
		t.Errorf("SweepMarkers while attached: %v", err)
	}
	closeStore(t, s, true)
}

func TestSweepInMemory(t *testing.T) {
	s := NewStore("store", counterType{}, StoreOptions{})
	set(t, s, "a", counter{})
	for _, step := range []sweepFunc{s.Sweep, s.SweepMarkers} {
		if _, done, err := step(nil, 100, nil); !done || err != nil {
			t.Errorf("%v, %v", done, err)
		}
	}
	s.Detach()
}

// A generation whose list of schemas numbers the base's otherwise would read
// its values wrongly (P18).
func TestP18BaseKeepsItsNumbers(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	base := oldGeneration(t, env).base
	r := prepareNext(t, env, &changelog{}, base)
	db := finish(t, r, Position{})
	s := NewStore("store", counterType{}, StoreOptions{Env: env})
	if err := s.Open(db, []SchemaVersion{{1, "v2"}}, 1); !errors.Is(err, ErrSchema) {
		t.Errorf("Open: %v, want ErrSchema", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
