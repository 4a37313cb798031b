package kstate

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCrashLeavesCommittedPoint cuts the power at random moments, with
// background writes in flight and any part of the unsynced data on disk (S1).
// What is found must be exactly the state at the recorded position, of a commit
// that was made; and reading the changelog from there must give everything.
func TestCrashLeavesCommittedPoint(t *testing.T) {
	kept := 0
	for seed := range uint64(20) {
		if crashRun(t, seed) {
			kept++
		}
	}
	// The test must not pass because every directory was wiped.
	if kept < 10 {
		t.Errorf("only %d of 20 crashes left a local copy", kept)
	}
}

// crashRun says whether a local copy survived its crash.
func crashRun(t *testing.T, seed uint64) (kept bool) {
	rng := rand.New(rand.NewPCG(seed, 2))
	disk := vfs.NewCrashableMem()
	log := &changelog{}
	for range 1 + rng.IntN(3) { // lives of the process
		env := newTestEnv(t, EnvOptions{FS: disk, WriteEvery: time.Second, WriteBackBytes: 2 << 10})
		r := prepare(t, env, log.bounds())
		if r.Reason() == "" {
			kept = true
			checkCommittedPoint(t, seed, r, log)
		}
		feed(t, r, log)
		s := NewStore("store", counterType{}, StoreOptions{Env: env})
		if err := s.Open(finish(t, r, Position{log.end(), testSources(log.end())}), []SchemaVersion{{1, "v2"}}, 1); err != nil {
			t.Fatal(err)
		}
		wantContent(t, seed, s, log)
		live(t, rng, s, log)
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		closeStore(t, s, false) // what it still does happens on the lost disk
		disk = crashed
	}
	return kept
}

// live runs some transactions and may leave one open. Uncommitted values are
// recognizable, should one reach the disk.
func live(t *testing.T, rng *rand.Rand, s *Store[counter], log *changelog) {
	now := testStart
	for range rng.IntN(60) {
		for range rng.IntN(20) {
			s.BeginRecord()
			e := load(t, s, fmt.Sprint("key-", rng.IntN(50)))
			if rng.IntN(5) == 0 {
				s.Clear(e)
			} else {
				s.Set(e, counter{N: rng.Int64N(1000)})
			}
		}
		if rng.IntN(10) == 0 {
			s.Abort()
			continue
		}
		commit(t, s, log)
		now = now.Add(time.Duration(rng.IntN(1500)) * time.Millisecond)
		if err := s.Tick(now, now); err != nil {
			t.Fatal(err)
		}
	}
	set(t, s, "uncommitted", counter{N: 1})
}

// checkCommittedPoint compares the local copy with the changelog up to the
// position that the copy says.
func checkCommittedPoint(t *testing.T, seed uint64, r *Restore, log *changelog) {
	t.Helper()
	from := r.From()
	if from > 0 && log.records[from-1] != nil {
		t.Fatalf("seed %d: position %d is not behind a commit", seed, from)
	}
	if got := r.Sources(); from > 0 && !reflect.DeepEqual(got, testSources(from)) {
		t.Fatalf("seed %d: sources %v do not belong to position %d", seed, got, from)
	}
	wantSame(t, fmt.Sprintf("seed %d: disk at position %d", seed, from), onDisk(t, r.db), log.content(from))
}

func wantContent(t *testing.T, seed uint64, s *Store[counter], log *changelog) {
	t.Helper()
	want := make(map[string]counter)
	for k, v := range log.content(log.end()) {
		var c counter
		if err := s.decode([]byte(v), &c); err != nil {
			t.Fatal(err)
		}
		want[k] = c
	}
	wantSame(t, fmt.Sprintf("seed %d: restored", seed), all(t, s), want)
}

// TestCrashWhileRestoring cuts the power between Prepare and Finish, and in
// both halves of the rename (P17).
func TestCrashWhileRestoring(t *testing.T) {
	log := &changelog{}
	for i := range 500 {
		log.append(AppendKey(nil, fmt.Append(nil, "key-", i%100)), AppendValue(nil, 1, fmt.Append(nil, i)))
	}
	want := log.content(log.end())
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		disk := vfs.NewCrashableMem()
		env := newTestEnv(t, EnvOptions{FS: disk})
		r := prepare(t, env, log.bounds())
		feed(t, r, log)
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		db := finish(t, r, Position{Changelog: log.end()})
		done := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, fs := range []vfs.FS{crashed, done} {
			after := newTestEnv(t, EnvOptions{FS: fs})
			db := restoreDB(t, after, log)
			wantSame(t, fmt.Sprintf("seed %d", seed), onDisk(t, db), want)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		finished := newTestEnv(t, EnvOptions{FS: done})
		r = prepare(t, finished, log.bounds())
		if r.Reason() != "" || r.From() != log.end() {
			t.Errorf("seed %d: a finished restore was lost: %q, from %d", seed, r.Reason(), r.From())
		}
		if err := r.Abandon(); err != nil {
			t.Fatal(err)
		}
	}
}
