package kstate

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const nextDir = "/data/g2/store/0"

var (
	nextID       = Identity{Store: "store", Partition: 0, Generation: 2, TopicID: [16]byte{2}}
	nextVersions = []SchemaVersion{{1, "v1"}, {2, "v2"}}
)

// oldGeneration leaves a generation of four keys with a savepoint of it.
func oldGeneration(t *testing.T, env *Env) testSavepoint {
	t.Helper()
	log := &changelog{}
	s := openStore(t, env, counterType{schema: "v1"}, log)
	for i, key := range []string{"a", "b", "c", "d"} {
		set(t, s, key, counter{N: int64(i)})
	}
	commit(t, s, log)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	// So that no compaction comes between savepoint and adoption.
	if err := s.db.pebble.Compact(t.Context(), []byte{kindSchema}, []byte{kindMeta, kindMeta}, false); err != nil {
		t.Fatal(err)
	}
	sp := savepointOf(t, s, []SchemaVersion{{1, "v1"}})
	closeStore(t, s, true)
	return sp
}

// prepareNext prepares generation 2.
func prepareNext(t *testing.T, env *Env, log *changelog, base Base) *Restore {
	t.Helper()
	r, err := env.PrepareFromBase(nextDir, nextID, log.bounds(), base)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// openNext opens a store of generation 2 on what was prepared.
func openNext(t *testing.T, env *Env, r *Restore, log *changelog) *Store[counter] {
	t.Helper()
	feed(t, r, log)
	s := NewStore("store", counterType{}, StoreOptions{Env: env})
	if err := s.Open(finish(t, r, Position{Changelog: log.end()}), nextVersions, 2); err != nil {
		t.Fatal(err)
	}
	return s
}

var oldContent = map[string]counter{"a": {0, "migrated"}, "b": {1, "migrated"}, "c": {2, "migrated"}, "d": {3, "migrated"}}

func TestP16PrepareFromBase(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(t *testing.T, env *Env, base *Base)
		origin Origin
	}{
		{"another host", func(_ *testing.T, _ *Env, b *Base) { b.Adopt = "" }, OriginCopied},
		{"the old directory", func(*testing.T, *Env, *Base) {}, OriginAdopted},
		{"no old directory", func(_ *testing.T, _ *Env, b *Base) { b.Adopt = "/data/nowhere" }, OriginCopied},
		{"another database there", func(t *testing.T, e *Env, _ *Base) {
			writeFile(t, e.fs, testDir+"/"+instanceFile, "ANOTHER\n")
		}, OriginCopied},
		{"the table is gone", func(t *testing.T, e *Env, b *Base) {
			for _, f := range b.Files {
				if isTable(f.Name) {
					if err := e.fs.Remove(testDir + "/" + f.Name); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, OriginCopied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := newTestEnv(t, EnvOptions{})
			base := oldGeneration(t, env).base
			base.Adopt = testDir
			tt.spoil(t, env, &base)
			log := &changelog{}
			r := prepareNext(t, env, log, base)
			if r.Origin() != tt.origin || r.From() != 0 || r.Reason() != "no local copy" {
				t.Errorf("origin %s, from %d, reason %q; want %s", r.Origin(), r.From(), r.Reason(), tt.origin)
			}
			s := openNext(t, env, r, log)
			wantSame(t, "state", all(t, s), oldContent)
			if !s.Attached() || s.Instance() == base.Instance || len(s.db.SchemaVersions()) != 0 {
				t.Errorf("attached %v, instance %s of base %s, schemas %v", s.Attached(), s.Instance(), base.Instance, s.db.SchemaVersions())
			}
			closeStore(t, s, true)

			r = prepareNext(t, env, log, base)
			if r.Origin() != OriginLocal {
				t.Errorf("again: %s, %q", r.Origin(), r.Reason())
			}
			wantSame(t, "state again", all(t, openNextAndClose(t, env, r, log)), oldContent)
		})
	}
}

// openNextAndClose is for tests that look at the state and nothing else.
func openNextAndClose(t *testing.T, env *Env, r *Restore, log *changelog) *Store[counter] {
	t.Helper()
	s := openNext(t, env, r, log)
	t.Cleanup(func() { closeStore(t, s, false) })
	return s
}

// What a base is not is found before there is a directory that could be taken
// for a store.
func TestP16BadBase(t *testing.T) {
	firstTable := func(b *Base) string {
		for _, f := range b.Files {
			if isTable(f.Name) {
				return f.Name
			}
		}
		return ""
	}
	tests := []struct {
		name  string
		spoil func(sp *testSavepoint)
		want  error
		say   string
	}{
		{"a flipped bit", func(sp *testSavepoint) { sp.files[firstTable(&sp.base)][20] ^= 1 }, ErrBase, ".sst differs"},
		{"a longer file", func(sp *testSavepoint) {
			name := firstTable(&sp.base)
			sp.files[name] = append(sp.files[name], 0)
		}, ErrBase, ".sst differs"},
		{"a shorter file", func(sp *testSavepoint) {
			name := firstTable(&sp.base)
			sp.files[name] = sp.files[name][:100]
		}, ErrBase, ".sst differs"},
		{"a missing file", func(sp *testSavepoint) { delete(sp.files, firstTable(&sp.base)) }, ErrBase, "no file"},
		{"a table that the manifest lacks", func(sp *testSavepoint) {
			sp.base.Files = sp.base.Files[:0:0]
			for name, b := range sp.files {
				if !isTable(name) {
					sp.base.Files = append(sp.base.Files, fileOf(name, b))
				}
			}
		}, ErrBase, "does not exist"},
		{"a path", func(sp *testSavepoint) { sp.base.Files[0].Name = "../x" }, ErrBase, "../x"},
		{"another position", func(sp *testSavepoint) { sp.base.Position.Changelog++ }, ErrBase, "the manifest says"},
		{"other sources", func(sp *testSavepoint) { sp.base.Position.Sources = nil }, ErrBase, "the manifest says"},
		{"another schema", func(sp *testSavepoint) { sp.base.Versions = []SchemaVersion{{1, "v2"}} }, ErrSchema, "two schemas"},
		{"a newer format", func(sp *testSavepoint) {
			for i, f := range sp.base.Files {
				if f.Name == formatFile {
					sp.files[f.Name] = []byte("9\n")
					sp.base.Files[i] = fileOf(f.Name, sp.files[f.Name])
				}
			}
		}, ErrNewerFormat, "format 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := newTestEnv(t, EnvOptions{})
			sp := oldGeneration(t, env)
			tt.spoil(&sp)
			_, err := env.PrepareFromBase(nextDir, nextID, (&changelog{}).bounds(), sp.base)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.say)
			}
			for _, dir := range []string{nextDir, nextDir + restoreSuffix} {
				if there, _ := env.exists(dir); there {
					t.Errorf("%s is left", dir)
				}
			}
		})
	}
}

// A local copy that never had the base, or another one, lacks its keys.
func TestP16LocalCopyWithoutItsBase(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	base := oldGeneration(t, env).base
	log := &changelog{}
	r, err := env.Prepare(nextDir, nextID, log.bounds())
	if err != nil {
		t.Fatal(err)
	}
	if err := finish(t, r, Position{}).Close(); err != nil {
		t.Fatal(err)
	}
	r = prepareNext(t, env, log, base)
	if r.Origin() != OriginCopied || r.Reason() != "local copy was made without the base savepoint" {
		t.Errorf("origin %s, reason %q", r.Origin(), r.Reason())
	}
	closeStore(t, openNext(t, env, r, log), true)
	other := base
	other.Instance = "ANOTHER"
	if r = prepareNext(t, env, log, other); r.Reason() != "local copy was made from another savepoint" {
		t.Errorf("reason %q", r.Reason())
	}
	if err := r.Abandon(); err != nil {
		t.Fatal(err)
	}
}

// A table that was damaged in the live directory after the savepoint was
// written, without Pebble being able to see it, is found in the background:
// nothing detaches, and the next restore does not take it again (P15).
func TestP15DamagedAdopted(t *testing.T) {
	fs := vfs.NewMem()
	env := newTestEnv(t, EnvOptions{FS: fs})
	base := oldGeneration(t, env).base
	base.Adopt = testDir
	for i, f := range base.Files {
		if isTable(f.Name) {
			// The same as other bytes there: what Pebble reads is fine.
			base.Files[i].SHA256 = strings.Repeat("0", len(f.SHA256))
		}
	}
	log := &changelog{}
	s := openNext(t, env, prepareNext(t, env, log, base), log)
	select {
	case <-s.db.broken:
	case <-time.After(10 * time.Second):
		t.Fatal("not found")
	}
	if err := s.Tick(testStart, testStart); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), ".sst") {
		t.Errorf("Tick: %v", err)
	}
	if err := s.Close(true); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Close: %v", err)
	}
	r, err := env.PrepareFromBase(nextDir, nextID, log.bounds(), base)
	if err == nil {
		_ = r.Abandon()
	}
	// The savepoint's own table has that checksum as little.
	if !errors.Is(err, ErrBase) {
		t.Errorf("the next restore took the table again: %v", err)
	}
}

// Until the linked tables are verified the sweep is not done, and in a process
// that starts before they are, they are verified again (P15).
func TestP15VerifiedBeforeDetaching(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	base := oldGeneration(t, env).base
	base.Adopt = testDir
	env.verifiers <- struct{}{} // another store is at it
	log := &changelog{}
	s := openNext(t, env, prepareNext(t, env, log, base), log)
	sweepOnce := func() (done bool) {
		t.Helper()
		_, done, err := s.Sweep(nil, 100, func(_, _ []byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		s.Abort()
		return done
	}
	if sweepOnce() {
		t.Error("done with nothing verified")
	}
	closeStore(t, s, true) // does not wait for the other store
	s = openNext(t, env, prepareNext(t, env, log, base), log)
	if sweepOnce() {
		t.Error("done after a restart with nothing verified")
	}
	<-env.verifiers
	<-s.db.verifying.done
	if !sweepOnce() {
		t.Error("not done with everything verified")
	}
	closeStore(t, s, true)
	s = openNext(t, env, prepareNext(t, env, log, base), log)
	if s.db.verifying != nil {
		t.Error("verified again")
	}
	closeStore(t, s, true)
}

// The old generation's directory is what it was, whatever the new one does.
func TestP15AdoptedIsLeftAlone(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	base := oldGeneration(t, env).base
	base.Adopt = testDir
	before := make(map[string]string)
	names, err := env.fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		before[name] = string(readFile(t, env.fs, testDir+"/"+name))
	}
	log := &changelog{}
	s := openNext(t, env, prepareNext(t, env, log, base), log)
	for _, key := range []string{"a", "b", "c", "d"} {
		s.Clear(load(t, s, key))
	}
	commit(t, s, log)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.db.pebble.Compact(t.Context(), []byte{kindValue}, []byte{kindValue + 1}, false); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s, true)
	after := make(map[string]string)
	for name := range before {
		after[name] = string(readFile(t, env.fs, testDir+"/"+name))
	}
	if !maps.Equal(before, after) {
		t.Error("a file of the old directory changed")
	}
}
