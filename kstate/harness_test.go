package kstate

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const testDir = "/data/g1/store/0"

var (
	testID    = Identity{Store: "store", Partition: 0, Generation: 1, TopicID: [16]byte{1}}
	testStart = time.UnixMilli(1_700_000_000_000)
)

// changelog is a changelog partition: a record per offset, nil for the markers
// that end transactions.
type changelog struct {
	records []*logRecord
	start   int64
}

type logRecord struct{ key, value []byte }

func (l *changelog) end() int64 { return int64(len(l.records)) }

func (l *changelog) append(key, value []byte) {
	l.records = append(l.records, &logRecord{slices.Clone(key), slices.Clone(value)})
}

func (l *changelog) bounds() LogBounds {
	return LogBounds{Start: l.start, End: l.end(), DeleteRetention: 24 * time.Hour, Now: testStart}
}

// content is what the first end records amount to: by key, the value bytes.
func (l *changelog) content(end int64) map[string]string {
	m := make(map[string]string)
	for _, r := range l.records[:end] {
		if r == nil {
			continue
		}
		c, err := ParseChangelog(r.key, r.value)
		if err != nil {
			panic(err)
		}
		switch {
		case c.Schema:
		case c.Deleted:
			delete(m, string(c.Key))
		default:
			m[string(c.Key)] = string(r.value)
		}
	}
	return m
}

func newTestEnv(t testing.TB, o EnvOptions) *Env {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	if o.OnFatal == nil {
		o.OnFatal = func(reason string) { t.Errorf("fatal: %s", reason) }
	}
	e := NewEnv(o)
	e.restAfterStart = 0
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func prepare(t testing.TB, e *Env, log LogBounds) *Restore {
	t.Helper()
	r, err := e.Prepare(testDir, testID, log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// feed gives a restore what it asks for.
func feed(t testing.TB, r *Restore, log *changelog) {
	t.Helper()
	for at := max(r.From(), log.start); at < log.end(); at++ {
		if rec := log.records[at]; rec != nil {
			if err := r.Apply(at, rec.key, rec.value); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func finish(t testing.TB, r *Restore, pos Position) *DB {
	t.Helper()
	db, err := r.Finish(pos)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// restoreDB brings the test directory up to the end of a changelog.
func restoreDB(t testing.TB, e *Env, log *changelog) *DB {
	t.Helper()
	r := prepare(t, e, log.bounds())
	feed(t, r, log)
	return finish(t, r, Position{Changelog: log.end()})
}

// openStore restores the test directory and opens a store on it.
func openStore[S any](t testing.TB, e *Env, typ Type[S], log *changelog) *Store[S] {
	t.Helper()
	s := NewStore("store", typ, StoreOptions{Env: e})
	if err := s.Open(restoreDB(t, e, log), []SchemaVersion{{1, typ.Schema()}}, 1); err != nil {
		t.Fatal(err)
	}
	return s
}

func load[S any](t testing.TB, s *Store[S], key string) *Entry[S] {
	t.Helper()
	e, _, err := s.Load([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func get[S any](t testing.TB, s *Store[S], key string) (S, bool) {
	t.Helper()
	return s.Get(load(t, s, key))
}

func set[S any](t testing.TB, s *Store[S], key string, v S) {
	t.Helper()
	s.Set(load(t, s, key), v)
}

// commit ends a transaction as the engine does: changelog records, a marker,
// Commit with the position behind it.
func commit[S any](t testing.TB, s *Store[S], log *changelog) {
	t.Helper()
	if err := s.Changes(func(key, value []byte) error { log.append(key, value); return nil }); err != nil {
		t.Fatal(err)
	}
	log.records = append(log.records, nil)
	s.Commit(Position{Changelog: log.end(), Sources: testSources(log.end())})
}

// testSources makes up the source offsets that belong to a changelog position.
func testSources(changelog int64) []SourceOffset {
	return []SourceOffset{{Topic: "in", Partition: 3, Offset: 10 * changelog}}
}

func closeStore[S any](t testing.TB, s *Store[S], flush bool) {
	t.Helper()
	if err := s.Close(flush); err != nil {
		t.Fatal(err)
	}
}

// all is the content of a store by Each, which must be in key order.
func all[S any](t testing.TB, s *Store[S]) map[string]S {
	t.Helper()
	m := make(map[string]S)
	last := ""
	err := s.Each(func(key []byte, v S) error {
		if len(m) > 0 && string(key) <= last {
			t.Errorf("Each: %q after %q", key, last)
		}
		last = string(key)
		m[last] = v
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// onDisk is the content of a DB by Each, which must be in key order.
func onDisk(t testing.TB, db *DB) map[string]string {
	t.Helper()
	m := make(map[string]string)
	last := ""
	err := db.Each(func(key, value []byte) error {
		if len(m) > 0 && string(key) <= last {
			t.Errorf("Each: %q after %q", key, last)
		}
		last = string(key)
		m[last] = string(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantSame[V comparable](t testing.TB, what string, got, want map[string]V) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}
