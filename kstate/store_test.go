package kstate

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// emitted collects what Changes hands out.
func emitted[S any](t testing.TB, s *Store[S]) []Change {
	t.Helper()
	var got []Change
	err := s.Changes(func(key, value []byte) error {
		c, err := ParseChangelog(key, value)
		got = append(got, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestChanges(t *testing.T) {
	s := NewStore("store", counterType{}, StoreOptions{})
	set(t, s, "old", counter{N: 1})
	set(t, s, "gone", counter{N: 1})
	commit(t, s, &changelog{})

	for n := range int64(3) {
		set(t, s, "old", counter{N: n, Name: "x"})
	}
	s.Clear(load(t, s, "gone"))
	set(t, s, "brief", counter{N: 1})
	s.Clear(load(t, s, "brief"))
	s.Clear(load(t, s, "never there"))
	set(t, s, "", counter{N: 5})
	got := emitted(t, s)
	want := []Change{
		{Key: []byte("old"), Version: 1, Data: []byte("\x04x")},
		{Key: []byte("gone"), Deleted: true},
		{Key: []byte(""), Version: 1, Data: []byte("\x0a")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("changes\n got %+v\nwant %+v", got, want)
	}
}

// The bytes that Changes hands out are in buffers of Kafka records until the
// transaction ends.
func TestChangesStayValidUntilCommit(t *testing.T) {
	s := NewStore("store", counterType{}, StoreOptions{})
	for round := range 3 {
		for i := range 5000 {
			set(t, s, fmt.Sprint("key-", i), counter{N: int64(i + round), Name: fmt.Sprint(i)})
		}
		got := make(map[string]counter)
		for _, c := range emitted(t, s) {
			if !c.Schema {
				var v counter
				if err := s.decode(AppendValue(nil, c.Version, c.Data), &v); err != nil {
					t.Fatal(err)
				}
				got[string(c.Key)] = v
			}
		}
		for i := range 5000 {
			want := counter{N: int64(i + round), Name: fmt.Sprint(i)}
			if v := got[fmt.Sprint("key-", i)]; v != want {
				t.Fatalf("round %d: key-%d is %v in the changelog, want %v", round, i, v, want)
			}
		}
		s.Commit(Position{})
	}
}

func TestCommitWithoutChangesPanics(t *testing.T) {
	s := NewStore("store", counterType{}, StoreOptions{})
	set(t, s, "a", counter{N: 1})
	emitted(t, s)
	set(t, s, "a", counter{N: 2})
	defer func() {
		if recover() == nil {
			t.Error("committed a change that the changelog does not have")
		}
	}()
	s.Commit(Position{})
}

func TestP18SchemaRecordFirst(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	schema := Change{Schema: true, Version: 1, Data: []byte("v2")}
	expect := func(when string, want bool) {
		t.Helper()
		set(t, s, "key", counter{N: 1})
		got := emitted(t, s)
		if has := len(got) == 2 && reflect.DeepEqual(got[0], schema); has != want {
			t.Errorf("%s: schema record first: %v, want %v: %+v", when, has, want, got)
		}
	}
	expect("first use", true)
	s.Abort()
	expect("after an abort", true)
	commit(t, s, log)
	expect("after a commit", false)
	s.Abort()
	closeStore(t, s, false)

	s = openStore(t, env, counterType{}, log)
	expect("restored from the changelog", false)
	commit(t, s, log)
	closeStore(t, s, true)
	s = openStore(t, env, counterType{}, log)
	expect("from the local copy", false)
	closeStore(t, s, true)
}

// A tombstone needs no schema.
func TestP18NoSchemaForDeletes(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{schema: "v1"}, log)
	set(t, s, "a", counter{N: 1})
	commit(t, s, log)
	closeStore(t, s, true)
	s = NewStore("store", counterType{}, StoreOptions{Env: env})
	if err := s.Open(restoreDB(t, env, log), []SchemaVersion{{1, "v1"}, {2, "v2"}}, 2); err != nil {
		t.Fatal(err)
	}
	s.Clear(load(t, s, "a"))
	if got := emitted(t, s); len(got) != 1 || !got[0].Deleted {
		t.Errorf("changes %+v, want one tombstone", got)
	}
	closeStore(t, s, true)
}

// Values of an older schema are migrated as they are read, and written with the
// new one only when they change.
func TestP18MigratesOnRead(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{schema: "v1"}, log)
	set(t, s, "a", counter{N: 1})
	set(t, s, "b", counter{N: 2})
	commit(t, s, log)
	closeStore(t, s, true)

	versions := []SchemaVersion{{1, "v1"}, {2, "v2"}}
	s = NewStore("store", counterType{}, StoreOptions{Env: env})
	if err := s.Open(restoreDB(t, env, log), versions, 2); err != nil {
		t.Fatal(err)
	}
	if v, ok := get(t, s, "a"); !ok || v != (counter{1, "migrated"}) {
		t.Errorf("a = %v, %v", v, ok)
	}
	set(t, s, "a", counter{N: 3, Name: "new"})
	commit(t, s, log)
	closeStore(t, s, true)
	db := restoreDB(t, env, log)
	got := onDisk(t, db)
	if got["a"][0] != 2 || got["b"][0] != 1 {
		t.Errorf("versions on disk: %q", got)
	}
	if v := db.SchemaVersions(); !reflect.DeepEqual(v, versions) {
		t.Errorf("schemas on disk: %v", v)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesContradictingSchemas(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	log.append(AppendSchemaKey(nil, 1), []byte("v1"))
	db := restoreDB(t, env, log)
	for _, tt := range []struct {
		versions []SchemaVersion
		current  int
	}{
		{[]SchemaVersion{{1, "v2"}}, 1},            // the changelog says otherwise
		{[]SchemaVersion{{1, "v1"}}, 1},            // the store writes v2
		{[]SchemaVersion{{1, "v1"}, {2, "v2"}}, 3}, // nobody knows 3
		{[]SchemaVersion{{0, "v2"}}, 0},            // that is the deleted marker
	} {
		s := NewStore("store", counterType{}, StoreOptions{Env: env})
		if err := s.Open(db, tt.versions, tt.current); !errors.Is(err, ErrSchema) {
			t.Errorf("versions %v, current %d: %v, want ErrSchema", tt.versions, tt.current, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestP21ChangeInPlace changes a slice in place and aborts.
func TestP21ChangeInPlace(t *testing.T) {
	for _, deep := range []bool{false, true} {
		s := NewStore("store", listType{deep}, StoreOptions{})
		set(t, s, "k", list{[]int64{1, 2, 3}})
		commit(t, s, &changelog{})

		v, _ := get(t, s, "k")
		v.Items[0] = 99
		s.Abort()
		if v, _ := get(t, s, "k"); v.Items[0] != 1 {
			t.Errorf("deep %v: aborted, but %v", deep, v)
		}
		s.Abort()

		v, _ = get(t, s, "k")
		v.Items[0] = 99
		set(t, s, "k", v)
		emitted(t, s)
		s.Abort()
		if v, _ := get(t, s, "k"); v.Items[0] != 1 {
			t.Errorf("deep %v: set and aborted, but %v", deep, v)
		}

		s.BeginRecord()
		v, _ = get(t, s, "k")
		v.Items[0] = 98
		if err := s.Rollback(); err != nil {
			t.Fatal(err)
		}
		if v, _ := get(t, s, "k"); v.Items[0] != 1 {
			t.Errorf("deep %v: rolled back, but %v", deep, v)
		}
	}
}

// What user code keeps after the transaction must not be the store's.
func TestP21KeptAfterCommit(t *testing.T) {
	for _, deep := range []bool{false, true} {
		s := NewStore("store", listType{deep}, StoreOptions{})
		kept := []int64{1, 2, 3}
		set(t, s, "k", list{kept})
		commit(t, s, &changelog{})
		kept[0] = 99
		if v, _ := get(t, s, "k"); v.Items[0] != 1 {
			t.Errorf("deep %v: committed 1, but %v", deep, v)
		}
	}
}

func TestP22KeyError(t *testing.T) {
	s := NewStore("store", counterType{}, StoreOptions{})
	set(t, s, "good", counter{N: 1})
	set(t, s, "bad", counter{N: -1})
	check := func(what string, err error) {
		t.Helper()
		var key *KeyError
		if !errors.As(err, &key) || key.Store != "store" || string(key.Key) != "bad" || !errors.Is(err, errUnencodable) {
			t.Errorf("%s: %v, want a KeyError of bad", what, err)
		}
	}
	check("Changes", s.Changes(func(_, _ []byte) error { return nil }))
	_, err := s.Encoded(load(t, s, "bad"))
	check("Encoded", err)
	s.Abort()
	if _, ok := get(t, s, "good"); ok {
		t.Error("the abort kept a change")
	}
	set(t, s, "good", counter{N: 1})
	if got := emitted(t, s); len(got) != 2 {
		t.Errorf("after the abort: %+v", got)
	}
}

func TestP22KeyErrorOnLoad(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	log.append(AppendSchemaKey(nil, 1), []byte("v2"))
	log.append(AppendKey(nil, []byte("bad")), AppendValue(nil, 1, nil))
	log.append(AppendKey(nil, []byte("future")), AppendValue(nil, 9, []byte{2}))
	s := openStore(t, env, counterType{}, log)
	for _, k := range []string{"bad", "future"} {
		_, _, err := s.Load([]byte(k))
		var key *KeyError
		if !errors.As(err, &key) || string(key.Key) != k {
			t.Errorf("Load(%s): %v, want a KeyError", k, err)
		}
	}
	if _, ok := get(t, s, "other"); ok {
		t.Error("an entry of a failed Load came back")
	}
	closeStore(t, s, true)
}

// Where values cannot be copied, a record's change of a key that was changed
// before in the transaction cannot be undone alone.
func TestP22ErrIsolate(t *testing.T) {
	s := NewStore("store", listType{}, StoreOptions{})
	s.BeginRecord()
	set(t, s, "k", list{[]int64{1}})
	s.BeginRecord()
	v, _ := get(t, s, "k")
	v.Items[0] = 2
	if err := s.Rollback(); !errors.Is(err, ErrIsolate) {
		t.Errorf("Rollback: %v, want ErrIsolate", err)
	}
	s.Abort()
	s.BeginRecord()
	set(t, s, "k", list{[]int64{1}})
	if err := s.Rollback(); err != nil {
		t.Errorf("Rollback of the only record: %v", err)
	}
	if _, ok := get(t, s, "k"); ok || s.Dirty() != 0 {
		t.Error("the rolled back record left something")
	}
}

// TestS11MetadataIsNoKey runs every kind of scan over a store whose keys look
// like metadata.
func TestS11MetadataIsNoKey(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	want := map[string]counter{}
	for i, k := range []string{"", "\x00", "\x00\x01", "\x01", "\xff", "\xffposition", "\xff\xff\xff"} {
		want[k] = counter{N: int64(i)}
		set(t, s, k, want[k])
	}
	commit(t, s, log)
	wantSame(t, "cached", all(t, s), want)
	closeStore(t, s, true)

	s = openStore(t, env, counterType{}, log)
	wantSame(t, "from disk", all(t, s), want)
	set(t, s, "\x00", counter{N: 100})
	want["\x00"] = counter{N: 100}
	wantSame(t, "merged", all(t, s), want)
	for k, v := range want {
		if got, ok := get(t, s, k); !ok || got != v {
			t.Errorf("Load(%q) = %v, %v", k, got, ok)
		}
	}
	if n := len(onDisk(t, s.db)); n != len(want) {
		t.Errorf("DB.Each has %d keys, want %d", n, len(want))
	}
	for _, k := range []string{"position", "identity"} {
		if v, err := s.db.Get([]byte(k)); v != nil || err != nil {
			t.Errorf("DB.Get(%q) = %q, %v", k, v, err)
		}
	}
	closeStore(t, s, true)

	empty := newTestEnv(t, EnvOptions{})
	log = &changelog{}
	log.append(AppendSchemaKey(nil, 1), []byte("v2"))
	s = openStore(t, empty, counterType{}, log)
	if !s.complete || s.Stats().Entries != 0 {
		t.Error("a store with metadata only is not empty")
	}
	closeStore(t, s, true)
}

// TestS1OnlyCommittedIsWritten flushes in the middle of a transaction.
func TestS1OnlyCommittedIsWritten(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "a", counter{N: 1})
	commit(t, s, log)
	set(t, s, "a", counter{N: 2})
	set(t, s, "b", counter{N: 2})
	emitted(t, s)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "disk", onDisk(t, s.db), log.content(log.end()))
	if got := s.db.Position(); !reflect.DeepEqual(got, Position{log.end(), testSources(log.end())}) {
		t.Errorf("position %+v", got)
	}
	commit(t, s, log)
	closeStore(t, s, true)
	db := restoreDB(t, env, log)
	wantSame(t, "disk", onDisk(t, db), log.content(log.end()))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A small budget keeps the cache small, and what left it comes back.
func TestEvictionKeepsTheBudget(t *testing.T) {
	const budget, keys = 256 << 10, 20_000
	env := newTestEnv(t, EnvOptions{WriteBackBytes: budget})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	now := testStart
	for i := range keys {
		s.BeginRecord()
		set(t, s, fmt.Sprint("key-", i), counter{N: int64(i)})
		if i%100 == 99 {
			commit(t, s, log)
			now = now.Add(time.Millisecond)
			if err := s.Tick(now, now); err != nil {
				t.Fatal(err)
			}
		}
		// One journal in flight and one being filled, beside the cache.
		if used := env.used.Load(); used > 4*budget {
			t.Fatalf("%d bytes in use after %d keys, of %d", used, i, budget)
		}
	}
	if n := s.Stats().Entries; n != keys {
		t.Errorf("Stats counts %d entries, want %d", n, keys)
	}
	if s.complete || s.entries.n == keys {
		t.Error("nothing was evicted")
	}
	for i := range keys {
		s.BeginRecord()
		if v, ok := get(t, s, fmt.Sprint("key-", i)); !ok || v.N != int64(i) {
			t.Fatalf("key-%d = %v, %v", i, v, ok)
		}
	}
	closeStore(t, s, true)
	if used := env.used.Load(); used != 0 {
		t.Errorf("a closed store counts %d bytes", used)
	}
}

// A decoded value is handed out again within its transaction (see Get), so it
// stays even where everything else is evicted.
func TestLentValuesAreNotEvicted(t *testing.T) {
	env := newTestEnv(t, EnvOptions{WriteBackBytes: 1})
	log := &changelog{}
	s := openStore(t, env, listType{}, log)
	set(t, s, "k", list{[]int64{1}})
	commit(t, s, log)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	v, _ := get(t, s, "k")
	v.Items[0] = 2
	for i := range 100 {
		s.BeginRecord()
		load(t, s, fmt.Sprint("other-", i))
	}
	if v, _ := get(t, s, "k"); v.Items[0] != 2 {
		t.Errorf("the same transaction got another value: %v", v)
	}
	if s.entries.n > 90 {
		t.Error("nothing was evicted")
	}
	closeStore(t, s, true)
}

// A store that started empty answers for absent keys without the disk, also
// once something is there.
func TestAbsenceNeedsNoRead(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "a", counter{N: 1})
	commit(t, s, log)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	db := s.db
	s.db = nil // a read would panic
	for i := range 100 {
		if _, ok := get(t, s, fmt.Sprint("absent-", i)); ok {
			t.Errorf("absent-%d is there", i)
		}
	}
	s.db = db
	closeStore(t, s, true)
}

// A disk that fails in the background breaks the store (S9): Tick says so, and
// nothing hangs.
func TestS9BackgroundErrorBreaksTheStore(t *testing.T) {
	full := errors.New("no space left")
	var failing atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) {
			return full
		}
		return nil
	}))
	env := newTestEnv(t, EnvOptions{FS: fs})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "a", counter{N: 1})
	commit(t, s, log)
	failing.Store(true)
	if err := s.Tick(testStart.Add(time.Minute), testStart.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.collect(true)
	if err := s.Tick(testStart.Add(time.Minute), testStart.Add(time.Minute)); !errors.Is(err, ErrBackground) {
		t.Errorf("Tick: %v, want ErrBackground", err)
	}
	failing.Store(false) // or Pebble tries for ever while closing
	if err := s.Close(true); !errors.Is(err, ErrBackground) {
		t.Errorf("Close: %v, want ErrBackground", err)
	}
}

// Pebble's Fatalf ends in OnFatal and never returns to Pebble.
func TestS9FatalIsNotSilent(t *testing.T) {
	var reason string
	env := newTestEnv(t, EnvOptions{OnFatal: func(r string) { reason = r }})
	defer func() {
		if recover() == nil || reason != "MANIFEST sync failed: 7" {
			t.Errorf("reason %q, and it must not return", reason)
		}
	}()
	pebbleLogger{&DB{env: env}}.Fatalf("MANIFEST sync failed: %v", 7)
}

// The format of what is on disk is chosen here, not by the library's version.
func TestPebbleFormatIsPinned(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	db := restoreDB(t, env, &changelog{})
	if got := db.pebble.FormatMajorVersion(); got != pebble.FormatTableFormatV6 {
		t.Errorf("format %v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// An update costs no allocation once the store is warm, from Load to Commit.
func TestUpdatesDoNotAllocate(t *testing.T) {
	t.Run("assigned", func(t *testing.T) { testAllocs(t, counterType{}, counter{N: 1, Name: "name"}) })
	t.Run("copied", func(t *testing.T) { testAllocs(t, listType{deep: true}, list{[]int64{1, 2, 3}}) })
}

func testAllocs[S any](t *testing.T, typ Type[S], v S) {
	env := newTestEnv(t, EnvOptions{})
	s := openStore(t, env, typ, &changelog{})
	// Enough for several chunks: AllocsPerRun rounds down.
	keys := make([][]byte, 5000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%d", i)
	}
	pos := Position{Sources: testSources(1)}
	emit := func(_, _ []byte) error { return nil }
	cycle := func() {
		for _, key := range keys {
			s.BeginRecord()
			e, _, err := s.Load(key)
			if err != nil {
				t.Fatal(err)
			}
			s.Get(e)
			s.Set(e, v)
		}
		if err := s.Changes(emit); err != nil {
			t.Fatal(err)
		}
		s.Commit(pos)
		if err := s.Tick(testStart, testStart); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	if n := testing.AllocsPerRun(20, cycle); n != 0 {
		t.Errorf("%v allocations per transaction of %d records", n, len(keys))
	}
	closeStore(t, s, true)
}
