package kstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A log that is larger than the buffer of a restore, and whose buffer is larger
// than a table, gives the newest value of every key, in copies that begin from
// nothing and in copies that are caught up.
func TestRestoreOfManyTables(t *testing.T) {
	tests := []struct {
		name          string
		records, keys int
		writeBack     int64
		minTables     uint64
		local         bool
	}{
		{name: "one write of several tables", records: 300_000, keys: 300_000, writeBack: 1 << 30, minTables: 2},
		{name: "several writes", records: 60_000, keys: 20_000, writeBack: 1, minTables: 3},
		{name: "several writes to a local copy", records: 60_000, keys: 20_000, writeBack: 1, minTables: 3, local: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := newTestEnv(t, EnvOptions{WriteBackBytes: tt.writeBack})
			log := &changelog{}
			if tt.local {
				log = localCopy(t, env)
			}
			rng := rand.New(rand.NewPCG(1, 9))
			value := make([]byte, 200)
			for i := range tt.records {
				key := AppendKey(nil, fmt.Append(nil, "key-", rng.IntN(tt.keys)))
				if rng.IntN(10) == 0 {
					log.append(key, nil)
					continue
				}
				binary.BigEndian.PutUint64(value, uint64(i))
				log.append(key, AppendValue(nil, 1, value[:8+rng.IntN(190)]))
			}
			r := prepare(t, env, log.bounds())
			feed(t, r, log)
			if got := env.used.Load(); got < r.pending.size-accountBytes || got > r.pending.size {
				t.Errorf("%d bytes accounted, %d buffered", got, r.pending.size)
			}
			if err := r.write(); err != nil {
				t.Fatal(err)
			}
			if n := r.db.tables.Load(); n < tt.minTables {
				t.Errorf("%d tables were written, want %d at least", n, tt.minTables)
			}
			db := finish(t, r, Position{Changelog: log.end()})
			if n := env.used.Load(); n != 0 {
				t.Errorf("%d bytes accounted after the end", n)
			}
			got, want := onDisk(t, db), log.content(log.end())
			if !maps.Equal(got, want) {
				t.Errorf("%d keys, want %d, or values differ", len(got), len(want))
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Metadata and values are one write: they come and go together, sorted, and the
// metadata counts.
func TestWriteMergesPairs(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	if err := env.mkdir(testDir); err != nil {
		t.Fatal(err)
	}
	db, err := env.openDB(testDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	schema := AppendSchemaKey(nil, 3)
	b := &restoreBuffer{}
	b.put(AppendKey(nil, []byte("b")), []byte{1, 'x'})
	b.put(schema, []byte("old"))
	b.put(AppendKey(nil, []byte("a")), nil)
	if err := db.write(&b.journal, b.sort(), pair{metaPosition, []byte("p")}, pair{schema, []byte("new")}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		string(schema): "new", string(AppendKey(nil, []byte("b"))): "\x01x", string(metaPosition): "p",
	} {
		got, closer, err := db.get([]byte(key))
		if err != nil || string(got) != want {
			t.Errorf("%q = %q, %v; want %q", key, got, err, want)
		}
		if closer != nil {
			_ = closer.Close()
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A write that fails at any of its steps leaves the database as it was and no
// files; one that a crash cut off leaves files that the next open removes.
func TestWriteFails(t *testing.T) {
	injected := errors.New("injected")
	for _, op := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync} {
		mem := vfs.NewMem()
		var armed atomic.Bool
		env := newTestEnv(t, EnvOptions{FS: errorfs.Wrap(mem, errorfs.InjectorFunc(func(o errorfs.Op) error {
			if armed.Load() && o.Kind == op && strings.Contains(o.Path, tablePrefix) {
				return injected
			}
			return nil
		}))})
		log := localCopy(t, env)
		r := prepare(t, env, log.bounds())
		b := &restoreBuffer{}
		b.put(AppendKey(nil, []byte("new")), []byte{1, 'x'})
		armed.Store(true)
		err := r.db.write(&b.journal, b.sort())
		armed.Store(false)
		if !errors.Is(err, injected) || !errors.Is(err, ErrBackground) {
			t.Errorf("op %v: %v", op, err)
		}
		wantNoTables(t, mem)
		wantSame(t, fmt.Sprint("after op ", op), onDisk(t, r.db), log.content(log.end()))
		if err := r.Abandon(); err != nil {
			t.Fatal(err)
		}
	}
	mem := vfs.NewMem()
	env := newTestEnv(t, EnvOptions{FS: mem})
	log := localCopy(t, env)
	f, err := mem.Create(mem.PathJoin(testDir, tablePrefix+"7"), "test")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := restoreDB(t, env, log).Close(); err != nil {
		t.Fatal(err)
	}
	wantNoTables(t, mem)
}

func wantNoTables(t *testing.T, fs vfs.FS) {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, tablePrefix) }) {
		t.Errorf("left: %q", names)
	}
}

// Where compactions cannot follow, writes wait for them: nothing else bounds
// how many tables a read looks at.
func TestWritesWaitForCompactions(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	s := openStore(t, env, counterType{}, &changelog{})
	log := &changelog{}
	most := int32(0)
	for i := range 200 {
		for _, key := range []string{"a", "z"} { // each write spans all others
			s.BeginRecord()
			set(t, s, key, counter{N: int64(i)})
		}
		commit(t, s, log)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		most = max(most, s.db.pebble.Metrics().Levels[0].Sublevels)
	}
	if most > compactWait {
		t.Errorf("%d tables on top of each other, want %d at most", most, compactWait)
	}
	closeStore(t, s, true)
}

// settle ends with the first fault, whether or not compactions follow.
func TestSettleEndsWithAFault(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	s := openStore(t, env, counterType{}, &changelog{})
	done := make(chan error, 1)
	go func() { done <- s.db.settleBelow(0) }() // never
	s.db.report(BackgroundError, pebble.ErrClosed)
	select {
	case err := <-done:
		if !errors.Is(err, ErrBackground) {
			t.Errorf("settle: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("settle waits for ever")
	}
	closeStore(t, s, false)
}
