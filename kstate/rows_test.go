package kstate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestP16PrepareFromRows(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	sp := oldGeneration(t, env)
	base := sp.portable()
	log := &changelog{}
	r := prepareNext(t, env, log, base)
	if r.Origin() != OriginRows || r.From() != 0 || r.Reason() != "no local copy" {
		t.Errorf("origin %s, from %d, reason %q", r.Origin(), r.From(), r.Reason())
	}
	s := openNext(t, env, r, log)
	wantSame(t, "state", all(t, s), oldContent)
	if !s.Attached() || len(s.db.SchemaVersions()) != 0 {
		t.Errorf("attached %v, schemas %v", s.Attached(), s.db.SchemaVersions())
	}
	// A delete is a marker, and what the sweep hands out is every key of the base.
	s.Clear(load(t, s, "a"))
	swept := &changelog{}
	_, done, err := s.Sweep(nil, 100, func(key, value []byte) error { swept.append(key, value); return nil })
	if err != nil || !done {
		t.Errorf("sweep: %v, %v", done, err)
	}
	if got := swept.content(swept.end()); len(got) != 3 {
		t.Errorf("swept %q", got)
	}
	commit(t, s, log)
	if last := log.records[log.end()-2]; string(last.key) != "\x01a" || !isMarker(last.value) {
		t.Errorf("deleted as %q %x", last.key, last.value)
	}
	closeStore(t, s, true)
	want := maps.Clone(oldContent)
	delete(want, "a")
	r = prepareNext(t, env, log, base)
	if r.Origin() != OriginLocal {
		t.Errorf("again: %s, %q", r.Origin(), r.Reason())
	}
	wantSame(t, "state again", all(t, openNextAndClose(t, env, r, log)), want)
}

// An export is not taken for the savepoint that it was made of, nor the other
// way round: their copies have their own names.
func TestP16RowsOfAnotherSavepoint(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	sp := oldGeneration(t, env)
	log := &changelog{}
	closeStore(t, openNext(t, env, prepareNext(t, env, log, sp.base), log), true)
	r := prepareNext(t, env, log, sp.portable())
	if r.Origin() != OriginRows || r.Reason() != "local copy was made from another savepoint" {
		t.Errorf("origin %s, reason %q", r.Origin(), r.Reason())
	}
	wantSame(t, "state", all(t, openNextAndClose(t, env, r, log)), oldContent)
}

// Of a key that is there twice the last row counts, also where memory holds few
// of them at once.
func TestP16LastRowCounts(t *testing.T) {
	env := newTestEnv(t, EnvOptions{WriteBackBytes: 1})
	want := make(map[string]counter)
	base := Base{Instance: "rows", Versions: []SchemaVersion{{1, "v1"}, {2, "v2"}}}
	base.Rows = func(fn func(key []byte, version int, data []byte) error) error {
		for i := range int64(200_000) {
			key, name := fmt.Sprint("key-", i%50_000), fmt.Sprint("name-", i)
			if err := fn([]byte(key), 2, append(binary.AppendVarint(nil, i), name...)); err != nil {
				return err
			}
			want[key] = counter{i, name}
		}
		return nil
	}
	log := &changelog{}
	s := openNextAndClose(t, env, prepareNext(t, env, log, base), log)
	wantSame(t, "state", all(t, s), want)
}

// Whatever ends the filling, nothing is left that could be taken for a store,
// and no memory is counted that nobody has.
func TestP16RowsThatFail(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		spoil func(*Base)
		want  error
		base  bool // the base is to blame
	}{
		{"the savepoint is damaged", func(b *Base) { b.Rows = failingAfter(b.Rows, 2, broken) }, broken, true},
		{"the task was lost", func(b *Base) { b.Rows = failingAfter(b.Rows, 2, context.Canceled) }, context.Canceled, false},
		{"a version without schema", func(b *Base) { b.Versions = []SchemaVersion{{2, "v2"}} }, ErrBase, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := newTestEnv(t, EnvOptions{})
			sp := oldGeneration(t, env)
			base := sp.portable()
			c.spoil(&base)
			used, restores := env.used.Load(), env.restores.Load()
			_, err := env.PrepareFromBase(nextDir, nextID, (&changelog{}).bounds(), base)
			if !errors.Is(err, c.want) || errors.Is(err, ErrBase) != c.base {
				t.Errorf("%v", err)
			}
			for _, dir := range []string{nextDir, nextDir + restoreSuffix} {
				if there, _ := env.exists(dir); there {
					t.Errorf("%s is left", dir)
				}
			}
			if env.used.Load() != used || env.restores.Load() != restores {
				t.Errorf("%d bytes and %d restores are counted, before %d and %d", env.used.Load(), env.restores.Load(), used, restores)
			}
		})
	}
}

func failingAfter(rows func(func([]byte, int, []byte) error) error, n int, err error) func(func([]byte, int, []byte) error) error {
	return func(fn func([]byte, int, []byte) error) error {
		return rows(func(key []byte, version int, data []byte) error {
			if n--; n < 0 {
				return err
			}
			return fn(key, version, data)
		})
	}
}

// A crash in the middle of the filling, and right behind it, begins again with
// the savepoint.
func TestP16CrashWhileFilling(t *testing.T) {
	const rows = 100_000
	disk := vfs.NewCrashableMem()
	var crashes []*vfs.MemFS
	random := rand.New(rand.NewPCG(1, 1))
	crash := func() {
		for _, kept := range []int{0, 100} { // in percent of what was not synced
			crashes = append(crashes, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: random}))
		}
	}
	want := make(map[string]counter)
	base := Base{Instance: "rows", Versions: []SchemaVersion{{2, "v2"}}}
	base.Rows = func(fn func(key []byte, version int, data []byte) error) error {
		for i := range int64(rows) {
			if i%(rows/4) == 1 && len(crashes) < 8 {
				crash()
			}
			key := fmt.Sprint("key-", i)
			if err := fn([]byte(key), 2, binary.AppendVarint(nil, i)); err != nil {
				return err
			}
			want[key] = counter{N: i}
		}
		return nil
	}
	env := newTestEnv(t, EnvOptions{FS: disk, WriteBackBytes: 1})
	log := &changelog{}
	r := prepareNext(t, env, log, base)
	crash() // filled, without a position
	closeStore(t, openNext(t, env, r, log), false)
	crash()
	origins := make(map[Origin]int)
	for _, after := range crashes {
		env := newTestEnv(t, EnvOptions{FS: after, WriteBackBytes: 1})
		r := prepareNext(t, env, log, base)
		origins[r.Origin()]++
		wantSame(t, "after a crash", all(t, openNextAndClose(t, env, r, log)), want)
	}
	if len(crashes) != 12 || origins[OriginRows] != 10 || origins[OriginLocal] != 2 {
		t.Errorf("%d crashes, %v", len(crashes), origins)
	}
}
