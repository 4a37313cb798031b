package kstate

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// localCopy leaves a copy of a log of ten records on the environment's disk.
func localCopy(t *testing.T, env *Env) *changelog {
	t.Helper()
	log := &changelog{}
	for i := range 10 {
		log.append(AppendKey(nil, fmt.Append(nil, "key-", i)), AppendValue(nil, 1, []byte("value")))
	}
	r := prepare(t, env, log.bounds())
	if r.Reason() != "no local copy" {
		t.Fatalf("reason %q", r.Reason())
	}
	feed(t, r, log)
	if err := finish(t, r, Position{log.end(), testSources(log.end())}).Close(); err != nil {
		t.Fatal(err)
	}
	return log
}

func TestP17LocalCopies(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name   string
		id     func(*Identity)
		log    func(*LogBounds)
		reason string // "" and from 10: only the tail
	}{
		{"at the end", nil, nil, ""},
		{"behind", nil, func(l *LogBounds) { l.End = 20 }, ""},
		{"behind, within the retention", nil, func(l *LogBounds) { l.End = 20; l.Now = l.Now.Add(day) }, ""},
		{"behind, older than the retention", nil, func(l *LogBounds) { l.End = 20; l.Now = l.Now.Add(day + time.Minute) }, "older than the tombstone retention"},
		{"at the end, older than the retention", nil, func(l *LogBounds) { l.Now = l.Now.Add(100 * day) }, ""},
		{"at the log's start", nil, func(l *LogBounds) { l.Start, l.End = 10, 20 }, ""},
		{"below the log's start", nil, func(l *LogBounds) { l.Start, l.End = 11, 20 }, "position below log start"},
		{"above the log's end", nil, func(l *LogBounds) { l.End = 9 }, "position above log end"},
		{"another topic", func(id *Identity) { id.TopicID[0]++ }, nil, "topic id differs"},
		{"another generation", func(id *Identity) { id.Generation++ }, nil, "generation differs"},
		{"another store", func(id *Identity) { id.Store = "other" }, nil, "store differs"},
		{"another partition", func(id *Identity) { id.Partition++ }, nil, "partition differs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := newTestEnv(t, EnvOptions{})
			log := localCopy(t, env)
			id, bounds := testID, log.bounds()
			if tt.id != nil {
				tt.id(&id)
			}
			if tt.log != nil {
				tt.log(&bounds)
			}
			r, err := env.Prepare(testDir, id, bounds)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Abandon() }()
			from, kept := int64(10), 10
			if tt.reason != "" {
				from, kept = bounds.Start, 0
			}
			if r.Reason() != tt.reason || r.From() != from {
				t.Errorf("reason %q, from %d; want %q, %d", r.Reason(), r.From(), tt.reason, from)
			}
			if n := len(onDisk(t, r.db)); n != kept {
				t.Errorf("%d keys are left, want %d", n, kept)
			}
			if format, _ := env.readFormat(testDir); (format > 0) != (tt.reason == "") {
				t.Errorf("a directory of format %d is there", format)
			}
		})
	}
}

// A restore that takes longer than what was left of the tombstones' retention
// may have missed deletes.
func TestP17SlowRestore(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	log.append(AppendKey(nil, []byte("new")), AppendValue(nil, 1, nil))
	bounds := log.bounds()
	bounds.Now = bounds.Now.Add(23 * time.Hour)
	clock := time.Now()
	env.clock = func() time.Time { return clock }
	r := prepare(t, env, bounds)
	feed(t, r, log)
	clock = clock.Add(2 * time.Hour)
	if _, err := r.Finish(Position{Changelog: log.end()}); !errors.Is(err, ErrSlow) {
		t.Fatalf("Finish: %v, want ErrSlow", err)
	}
	r = prepare(t, env, bounds)
	if r.Reason() != "no local copy" {
		t.Errorf("next reason: %q", r.Reason())
	}
	if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
}

// Nothing was read of an empty log, however long it took.
func TestP17SlowEmptyRestore(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	clock := time.Now()
	env.clock = func() time.Time { return clock }
	log := &changelog{}
	r := prepare(t, env, log.bounds())
	clock = clock.Add(48 * time.Hour)
	if err := finish(t, r, Position{}).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestP17CaughtUpHourly(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "a", counter{N: 1})
	commit(t, s, log)
	for _, at := range []time.Duration{time.Minute, 5*time.Hour - time.Minute} {
		if err := s.Tick(testStart.Add(at), testStart.Add(at)); err != nil {
			t.Fatal(err)
		}
		s.collect(true)
	}
	// A worker that lost the task long ago, and ticks, changes nothing.
	if err := s.Tick(testStart.Add(30*time.Hour), testStart.Add(5*time.Hour-time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.collect(true)
	closeStore(t, s, false)
	// Caught up 4:59 after the start, so still good 20 hours later.
	set := func(now time.Duration) LogBounds {
		b := log.bounds()
		b.End, b.Now = b.End+1, testStart.Add(now)
		return b
	}
	for _, tt := range []struct {
		now    time.Duration
		reason string
	}{{28 * time.Hour, ""}, {29 * time.Hour, "older than the tombstone retention"}} {
		r := prepare(t, env, set(tt.now))
		if r.Reason() != tt.reason {
			t.Errorf("after %v: %q, want %q", tt.now, r.Reason(), tt.reason)
		}
		if err := r.Abandon(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestP17WithoutPosition(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	db, err := env.openDB(testDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.pebble.Delete(metaPosition, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.pebble.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	r := prepare(t, env, log.bounds())
	if r.Reason() != "local copy has no position" || len(onDisk(t, r.db)) != 0 {
		t.Errorf("reason %q", r.Reason())
	}
	if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
}

// Abandoned restores leave nothing behind, and what a full one fills is no store
// before it is finished.
func TestP17Abandon(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	if err := env.fs.RemoveAll(testDir); err != nil {
		t.Fatal(err)
	}
	r := prepare(t, env, log.bounds())
	feed(t, r, log)
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	if format, err := env.readFormat(testDir); format != 0 || err != nil {
		t.Errorf("a directory that is being filled says format %d, %v", format, err)
	}
	if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
	if there, _ := env.exists(testDir); there {
		t.Error("an abandoned restore leaves its directory")
	}
	if err := r.Apply(log.end(), []byte{kindValue}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply after Abandon: %v", err)
	}
}

// The tail of a long changelog is not started over after a crash, but what it
// has so far belongs to no source offsets.
func TestP17TailKeepsProgress(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	log.append(AppendKey(nil, []byte("new")), AppendValue(nil, 1, nil))
	r := prepare(t, env, log.bounds())
	if got := r.Sources(); len(got) != 1 || got[0].Offset != 100 {
		t.Errorf("sources %v", got)
	}
	feed(t, r, log)
	if err := errors.Join(r.write(), r.Abandon()); err != nil {
		t.Fatal(err)
	}
	r = prepare(t, env, log.bounds())
	if r.From() != 11 || r.Sources() != nil || r.Reason() != "" {
		t.Errorf("from %d, sources %v, reason %q", r.From(), r.Sources(), r.Reason())
	}
	if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
}

func TestP4OneHolder(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	first := prepare(t, env, log.bounds())
	env.holdWait = time.Millisecond
	if _, err := env.Prepare(testDir, testID, log.bounds()); !errors.Is(err, ErrHeld) {
		t.Fatalf("second holder: %v, want ErrHeld", err)
	}
	env.holdWait = holdWait
	waiting := make(chan *Restore)
	go func() {
		r, err := env.Prepare(testDir, testID, log.bounds())
		if err != nil {
			t.Error(err)
		}
		waiting <- r
	}()
	if err := finish(t, first, Position{Changelog: log.end()}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := (<-waiting).Abandon(); err != nil {
		t.Fatal(err)
	}
}

func TestP16DeletedMarkerDeletes(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	log.append(AppendKey(nil, []byte("key-1")), []byte{deletedVersion})
	log.append(AppendKey(nil, []byte("key-2")), nil)
	db := restoreDB(t, env, log)
	got := onDisk(t, db)
	if _, ok := got["key-1"]; ok || len(got) != 8 {
		t.Errorf("restored %v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestS6ApplyKeepsNothing overwrites the caller's memory after every record.
func TestS6ApplyKeepsNothing(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	r := prepare(t, env, LogBounds{End: 100, DeleteRetention: time.Hour})
	key, value := make([]byte, 3), make([]byte, 2)
	for i := range 100 {
		copy(key, []byte{kindValue, 'k', byte(i)})
		copy(value, []byte{1, byte(i)})
		if err := r.Apply(int64(i), key, value); err != nil {
			t.Fatal(err)
		}
		clear(key)
		clear(value)
	}
	db := finish(t, r, Position{Changelog: 100})
	got := onDisk(t, db)
	for i := range 100 {
		if got[string([]byte{'k', byte(i)})] != string([]byte{1, byte(i)}) {
			t.Errorf("key %d has %q", i, got[string([]byte{'k', byte(i)})])
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreRefusesDisorder(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	r := prepare(t, env, LogBounds{Start: 5, End: 9})
	key, value := AppendKey(nil, []byte("k")), AppendValue(nil, 1, nil)
	if err := r.Apply(4, key, value); !errors.Is(err, ErrOrder) {
		t.Errorf("below the start: %v", err)
	}
	if err := r.Apply(7, key, value); err != nil {
		t.Errorf("after a gap: %v", err)
	}
	if err := r.Apply(7, key, value); !errors.Is(err, ErrOrder) {
		t.Errorf("twice: %v", err)
	}
	if err := r.Apply(8, []byte{7}, value); !errors.Is(err, ErrMalformed) {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := r.Finish(Position{Changelog: 7}); !errors.Is(err, ErrOrder) {
		t.Errorf("finished below what was applied: %v", err)
	}
	if r, err := env.Prepare(testDir, testID, LogBounds{}); err != nil {
		t.Errorf("a failed Finish holds the directory: %v", err)
	} else if err := r.Abandon(); err != nil {
		t.Error(err)
	}
}

func writeFile(t *testing.T, fs vfs.FS, name, content string) {
	t.Helper()
	f, err := fs.Create(name, "test")
	if err == nil {
		_, err = io.WriteString(f, content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormatIsLeftAlone(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := localCopy(t, env)
	name := testDir + "/" + formatFile
	writeFile(t, env.fs, name, "2\n")
	if _, err := env.Prepare(testDir, testID, log.bounds()); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("Prepare: %v, want ErrNewerFormat", err)
	}
	writeFile(t, env.fs, name, "1\n")
	if r := prepare(t, env, log.bounds()); r.Reason() != "" {
		t.Errorf("it was touched: %q", r.Reason())
	} else if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
}

// damage changes a byte in the middle of every table of the directory.
func damage(t *testing.T, fs *vfs.MemFS) {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			f, err := fs.Open(testDir + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			b[10] ^= 0xff
			writeFile(t, fs, testDir+"/"+name, string(b))
			found = true
		}
	}
	if !found {
		t.Fatal("no table to damage")
	}
}

// Damage that is met when the copy is opened costs a full restore.
func TestS9DamagedBeforeOpen(t *testing.T) {
	fs := vfs.NewMem()
	env := newTestEnv(t, EnvOptions{FS: fs})
	log := localCopy(t, env)
	damage(t, fs)
	r := prepare(t, env, log.bounds())
	if !strings.HasPrefix(r.Reason(), "local copy is damaged: ") {
		t.Errorf("reason %q", r.Reason())
	}
	feed(t, r, log)
	db := finish(t, r, Position{Changelog: log.end()})
	wantSame(t, "restored", onDisk(t, db), log.content(log.end()))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Damage that is met while running breaks the store, and closing wipes it.
func TestS9DamagedWhileRunning(t *testing.T) {
	var events []Event
	env := newTestEnv(t, EnvOptions{OnEvent: func(e Event) { events = append(events, e) }})
	log := localCopy(t, env)
	s := openStore(t, env, counterType{}, log)
	s.db.report(Corruption, pebble.ErrCorruption)
	if err := s.Tick(testStart, testStart); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Tick: %v, want ErrCorrupt", err)
	}
	if err := s.Changes(nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a broken store commits: %v", err)
	}
	if err := s.Close(true); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Close: %v, want ErrCorrupt", err)
	}
	if there, _ := env.exists(testDir); there {
		t.Error("the corrupt copy is still there")
	}
	if len(events) != 1 || events[0].Kind != Corruption || events[0].Dir != testDir {
		t.Errorf("events: %v", events)
	}
}

// A restart that finds nothing new writes nothing; the time that the copy was
// known caught up is brought up to date by the first Tick that finds it old.
func TestRestoreOfNothingWritesNothing(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "a", counter{N: 1})
	commit(t, s, log)
	closeStore(t, s, true)
	open := func(bounds LogBounds) *Store[counter] {
		r := prepare(t, env, bounds)
		s := NewStore("store", counterType{}, StoreOptions{Env: env})
		db := finish(t, r, Position{log.end(), testSources(log.end())})
		if err := s.Open(db, []SchemaVersion{{1, "v2"}}, 1); err != nil {
			t.Fatal(err)
		}
		return s
	}
	bounds := log.bounds()
	bounds.Now = bounds.Now.Add(23 * time.Hour)
	s = open(bounds)
	if n := s.db.tables.Load(); n != 0 {
		t.Errorf("%d tables written", n)
	}
	if err := s.Tick(bounds.Now, bounds.Now); err != nil {
		t.Fatal(err)
	}
	s.collect(true)
	closeStore(t, s, false)
	// It was caught up 23 hours after the start, so still can be after 46.
	bounds.End++
	bounds.Now = bounds.Now.Add(23 * time.Hour)
	r := prepare(t, env, bounds)
	if r.Reason() != "" {
		t.Errorf("reason %q", r.Reason())
	}
	if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
}
