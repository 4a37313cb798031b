package kstate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readFile reads a whole file of a test's disk.
func readFile(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// testSavepoint is what the savepoint package makes of a checkpoint: copies of its
// files, and what the manifest says.
type testSavepoint struct {
	base  Base
	files map[string][]byte
	rows  []testRow // by no order
}

// fileOf is what a manifest says of a file.
func fileOf(name string, content []byte) BaseFile {
	sum := sha256.Sum256(content)
	return BaseFile{name, int64(len(content)), hex.EncodeToString(sum[:])}
}

// savepointOf takes one of a store, as its owner would.
func savepointOf[S any](t testing.TB, s *Store[S], versions []SchemaVersion) testSavepoint {
	t.Helper()
	const dir = "/data/checkpoint"
	if err := s.env.fs.RemoveAll(dir); err != nil { // from before a crash
		t.Fatal(err)
	}
	pos, err := s.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	fs := s.env.fs
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	sp := testSavepoint{
		base:  Base{Instance: s.Instance(), Position: pos, Versions: versions},
		files: make(map[string][]byte),
	}
	for _, name := range names {
		b := readFile(t, fs, dir+"/"+name)
		sp.files[name] = b
		sp.base.Files = append(sp.base.Files, fileOf(name, b))
	}
	sp.rows = rowsOf(t, s.env, dir)
	if err := fs.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	sp.base.Open = func(name string) (io.ReadCloser, error) {
		b, ok := sp.files[name]
		if !ok {
			return nil, fmt.Errorf("no file %q", name)
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	return sp
}

// testRow is a key and its value, with the schema version in front.
type testRow struct{ key, value string }

// rowsOf are what an export of a checkpoint has.
func rowsOf(t testing.TB, env *Env, dir string) []testRow {
	t.Helper()
	db, err := env.openDB(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows []testRow
	for key, value := range onDisk(t, db) {
		rows = append(rows, testRow{key, value})
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// portable is the same part, exported.
func (sp *testSavepoint) portable() Base {
	return Base{
		Instance: "export-" + sp.base.Instance, Position: sp.base.Position, Versions: sp.base.Versions,
		Rows: func(fn func(key []byte, version int, data []byte) error) error {
			for _, r := range sp.rows {
				version, data, err := ParseValue([]byte(r.value))
				if err == nil {
					err = fn([]byte(r.key), version, data)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// sweepPhase is what the position record says of the sweep.
type sweepPhase struct {
	detached, clean bool
	cursor          []byte
}

// life is a job of one store through crashes, savepoints and generations, on
// one disk, with a model beside it. Generation 1 writes schema v1, the others
// v2.
type life struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	disk  *vfs.MemFS
	env   *Env
	store *Store[counter]
	now   time.Time

	gen      int
	log      *changelog
	from     *pastSavepoint // the base; nil: none
	exported bool           // ... in portable form
	model    map[string]counter
	txn      map[string]counter
	record   sweepPhase // the newest committed position record's
	pending  sweepPhase // the open transaction's
	past     []pastSavepoint
	detached int
	origins  map[Origin]int
}

type pastSavepoint struct {
	testSavepoint
	gen   int
	dir   string
	model map[string]counter
}

func (l *life) dir() string { return fmt.Sprintf("/data/g%d/store/0", l.gen) }

func (l *life) id() Identity {
	return Identity{Store: "store", Generation: l.gen, TopicID: [16]byte{byte(l.gen)}}
}

func (l *life) typ() counterType {
	if l.gen == 1 {
		return counterType{schema: "v1"}
	}
	return counterType{}
}

func (l *life) versions() []SchemaVersion {
	if l.gen == 1 {
		return []SchemaVersion{{1, "v1"}}
	}
	return []SchemaVersion{{1, "v1"}, {2, "v2"}}
}

// start does what a process does when it gets the task.
func (l *life) start() {
	l.env = newTestEnv(l.t, EnvOptions{FS: l.disk, WriteEvery: time.Second, WriteBackBytes: 1 + int64(l.seed%2)<<30})
	bounds := l.log.bounds()
	bounds.Now = l.now
	var r *Restore
	var err error
	if l.from != nil && !l.record.detached {
		base := l.from.base
		base.Adopt = l.from.dir
		if l.exported {
			base = l.from.portable()
		}
		r, err = l.env.PrepareFromBase(l.dir(), l.id(), bounds, base)
	} else {
		r, err = l.env.Prepare(l.dir(), l.id(), bounds)
	}
	if err != nil {
		l.t.Fatalf("seed %d: %v", l.seed, err)
	}
	l.origins[r.Origin()]++
	feed(l.t, r, l.log)
	l.store = NewStore("store", l.typ(), StoreOptions{Env: l.env})
	if err := l.store.Open(finish(l.t, r, Position{l.log.end(), testSources(l.log.end())}), l.versions(), len(l.versions())); err != nil {
		l.t.Fatal(err)
	}
	if want := l.from != nil && !l.record.detached; l.store.Attached() != want {
		l.t.Fatalf("seed %d: attached: %v, want %v", l.seed, !want, want)
	}
	l.begin()
	l.compare("restored from " + string(r.Origin()))
}

func (l *life) begin() {
	l.txn = maps.Clone(l.model)
	l.pending = l.record
}

func (l *life) compare(what string) {
	wantSame(l.t, fmt.Sprintf("seed %d, generation %d, %s", l.seed, l.gen, what), all(l.t, l.store), l.txn)
}

func (l *life) key() string { return fmt.Sprint("key-", l.rng.IntN(60)) }

func (l *life) change() {
	l.store.BeginRecord()
	key := l.key()
	if l.rng.IntN(3) == 0 {
		l.store.Clear(load(l.t, l.store, key))
		delete(l.txn, key)
		return
	}
	v := counter{N: l.rng.Int64N(1000), Name: "migrated"}
	if l.gen > 1 {
		v.Name = fmt.Sprint("g", l.gen)
	}
	set(l.t, l.store, key, v)
	l.txn[key] = v
}

// sweep adds a piece of it to the transaction's records.
func (l *life) sweep(records *changelog) {
	if l.from == nil || l.pending.clean {
		return
	}
	emit := func(key, value []byte) error { records.append(key, value); return nil }
	step := l.store.Sweep
	if l.record.detached {
		step = l.store.SweepMarkers
	}
	next, done, err := step(l.pending.cursor, 1+l.rng.IntN(8), emit)
	if err != nil {
		l.t.Fatal(err)
	}
	l.pending.cursor = next
	if done {
		l.pending = sweepPhase{detached: true, clean: l.record.detached}
	}
}

// transaction is one, committed or aborted.
func (l *life) transaction() {
	for range l.rng.IntN(6) {
		l.change()
	}
	records := &changelog{}
	for range l.rng.IntN(2) {
		l.sweep(records)
	}
	err := l.store.Changes(func(key, value []byte) error { records.append(key, value); return nil })
	if err != nil {
		l.t.Fatal(err)
	}
	if l.rng.IntN(6) == 0 {
		l.store.Abort()
	} else {
		l.log.records = append(append(l.log.records, records.records...), nil)
		l.store.Commit(Position{l.log.end(), testSources(l.log.end())})
		l.model = l.txn
		if l.pending.detached && !l.record.detached {
			l.store.Detach()
			l.detached++
		}
		l.record = l.pending
		l.checkLog()
	}
	l.begin()
	l.now = l.now.Add(time.Duration(l.rng.IntN(800)) * time.Millisecond)
	if err := l.store.Tick(l.now, l.now); err != nil {
		l.t.Fatal(err)
	}
}

// checkLog checks what the changelog alone must be: the state once detached,
// without a marker once these were swept, and never with a tombstone before
// (P16).
func (l *life) checkLog() {
	if l.from != nil && !l.record.detached {
		for _, r := range l.log.records {
			if r != nil && r.value == nil {
				l.t.Fatalf("seed %d: a tombstone of %q while attached", l.seed, r.key)
			}
		}
		return
	}
	got := make(map[string]counter)
	for key, value := range l.log.content(l.log.end()) {
		var v counter
		if value[0] != byte(len(l.versions())) {
			l.t.Fatalf("seed %d: %q has version %d in the changelog", l.seed, key, value[0])
		}
		if err := l.store.decode([]byte(value), &v); err != nil {
			l.t.Fatal(err)
		}
		got[key] = v
	}
	wantSame(l.t, fmt.Sprintf("seed %d, generation %d: the changelog alone", l.seed, l.gen), got, l.model)
	if !l.record.clean {
		return
	}
	for key, r := range l.log.latest() {
		if isMarker(r.value) {
			l.t.Fatalf("seed %d: marker of %q is left", l.seed, key)
		}
	}
}

// latest is the newest record of every key.
func (l *changelog) latest() map[string]*logRecord {
	m := make(map[string]*logRecord)
	for _, r := range l.records {
		if r != nil {
			m[string(r.key)] = r
		}
	}
	return m
}

// compact does what the broker does, tombstones included; so it is later than
// their retention.
func (l *life) compact() {
	latest := l.log.latest()
	for i, r := range l.log.records {
		if r != nil && (latest[string(r.key)] != r || r.value == nil) {
			l.log.records[i] = nil
		}
	}
	l.now = l.now.Add(25 * time.Hour)
}

func (l *life) stop(flush bool) {
	closeStore(l.t, l.store, flush)
}

func (l *life) crash() {
	l.change() // something uncommitted
	after := l.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: l.rng.IntN(101), RNG: l.rng})
	l.stop(false)
	l.disk = after
	l.start()
}

func (l *life) loseDisk() {
	l.stop(false)
	if err := l.disk.RemoveAll("/data"); err != nil {
		l.t.Fatal(err)
	}
	l.start()
}

func (l *life) restart() {
	l.stop(l.rng.IntN(2) == 0)
	l.start()
}

func (l *life) savepoint() {
	sp := savepointOf(l.t, l.store, l.versions())
	l.past = append(l.past, pastSavepoint{sp, l.gen, l.dir(), maps.Clone(l.model)})
}

// next starts a generation from one of the savepoints, not always the newest.
func (l *life) next() {
	if len(l.past) == 0 {
		return
	}
	l.stop(l.rng.IntN(2) == 0)
	from := l.past[max(0, len(l.past)-1-l.rng.IntN(3))]
	l.gen++
	l.from, l.model = &from, maps.Clone(from.model)
	l.exported = l.rng.IntN(3) == 0
	l.log = &changelog{}
	l.record = sweepPhase{}
	l.start()
}

// TestP16Generations runs jobs through everything that may happen between a
// savepoint and the end of the sweep of what was started from it.
func TestP16Generations(t *testing.T) {
	detached, origins := 0, make(map[Origin]int)
	// The test must not pass because nothing of it happened. How often each
	// thing happens also depends on Pebble's background work, so there are as
	// many lives as that takes.
	missing := func() string {
		if detached < 8 {
			return fmt.Sprintf("only %d partitions were detached", detached)
		}
		for _, o := range []Origin{OriginLocal, OriginChangelog, OriginCopied, OriginAdopted, OriginRows} {
			if origins[o] < 4 {
				return fmt.Sprintf("only %d stores were restored from %s", origins[o], o)
			}
		}
		return ""
	}
	for seed := uint64(0); seed < 10 || seed < 60 && missing() != ""; seed++ {
		l := &life{
			t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 4)), disk: vfs.NewCrashableMem(),
			gen: 1, log: &changelog{}, model: map[string]counter{}, now: testStart, origins: origins,
		}
		l.start()
		for range 400 {
			switch n := l.rng.IntN(100); {
			case n < 4:
				l.crash()
			case n < 6:
				l.loseDisk()
			case n < 8:
				l.restart()
			case n < 10:
				l.compact()
			case n < 14:
				l.savepoint()
			case n < 16:
				l.next()
			default:
				l.transaction()
			}
		}
		l.compare("at the end")
		l.stop(true)
		detached += l.detached
	}
	if what := missing(); what != "" {
		t.Error(what)
	}
}
