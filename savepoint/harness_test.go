package savepoint

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

const (
	testID    = "20261122T101530Z-3f9c"
	testToken = "k7h2"

	armV1 = `{"type":"record","name":"state","fields":[{"name":"active","type":"boolean"},{"name":"since","type":"int"}]}`
	armV2 = `{"type":"record","name":"state","fields":[{"name":"active","type":"boolean"},{"name":"since","type":"long"},{"name":"who","type":["null","string"],"default":null}]}`
	sumV1 = `"long"`
)

// memFS is a location in memory that can fail and crash.
type memFS struct {
	mem *vfs.MemFS

	mu     sync.Mutex
	ops    int
	failAt int  // the operation that fails; 0: none
	after  bool // it takes effect and fails nevertheless
	onOp   func(op string)
}

var errInjected = errors.New("injected")

func newMemFS() *memFS {
	m := &memFS{mem: vfs.NewCrashableMem()}
	if err := m.mem.MkdirAll("/loc", 0o755); err != nil {
		panic(err)
	}
	for _, dir := range []string{"/loc", "/"} {
		if err := syncMem(m.mem, dir); err != nil {
			panic(err)
		}
	}
	return m
}

func syncMem(mem *vfs.MemFS, dir string) error {
	d, err := mem.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// step counts an operation and runs it, or fails.
func (m *memFS) step(op string, run func() error) error {
	m.mu.Lock()
	m.ops++
	fail := m.ops == m.failAt
	onOp := m.onOp
	m.mu.Unlock()
	if fail && !m.after {
		return fmt.Errorf("%s: %w", op, errInjected)
	}
	err := run()
	if onOp != nil {
		onOp(op)
	}
	if fail && err == nil {
		return fmt.Errorf("%s: %w", op, errInjected)
	}
	return err
}

func in(name string) string { return path.Join("/loc", name) }

func (m *memFS) Open(name string) (file ReadFile, err error) {
	err = m.step("open "+name, func() error {
		info, err := m.mem.Stat(in(name))
		if err != nil {
			return err
		}
		if info.IsDir() {
			return ErrNotRegular
		}
		f, err := m.mem.Open(in(name))
		file = memFile{m, f, name}
		return err
	})
	return file, err
}

func (m *memFS) Create(name string) (file NewFile, err error) {
	err = m.step("create "+name, func() error {
		if _, err := m.mem.Stat(in(name)); err == nil {
			return fs.ErrExist
		}
		f, err := m.mem.Create(in(name), "test")
		file = memFile{m, f, name}
		return err
	})
	return file, err
}

func (m *memFS) MkdirAll(name string) error {
	return m.step("mkdir "+name, func() error { return m.mem.MkdirAll(in(name), 0o755) })
}

func (m *memFS) List(name string) (infos []fs.FileInfo, err error) {
	err = m.step("list "+name, func() error {
		names, err := m.mem.List(in(name))
		slices.Sort(names)
		for _, n := range names {
			info, statErr := m.mem.Stat(in(path.Join(name, n)))
			err = errors.Join(err, statErr)
			infos = append(infos, info)
		}
		return err
	})
	return infos, err
}

func (m *memFS) Lstat(name string) (info fs.FileInfo, err error) {
	err = m.step("lstat "+name, func() error {
		info, err = m.mem.Stat(in(name))
		return err
	})
	return info, err
}

func (m *memFS) Rename(from, to string) error {
	return m.step("rename "+from+" "+to, func() error {
		if names, err := m.mem.List(in(to)); err == nil && len(names) > 0 {
			return fs.ErrExist
		}
		return m.mem.Rename(in(from), in(to))
	})
}

func (m *memFS) Remove(name string) error {
	return m.step("remove "+name, func() error { return m.mem.Remove(in(name)) })
}

func (m *memFS) RemoveAll(name string) error {
	// One by one, as on a disk: a failure leaves a part.
	names, err := m.mem.List(in(name))
	for _, n := range names {
		if err == nil {
			err = m.RemoveAll(path.Join(name, n))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if info, statErr := m.mem.Stat(in(name)); statErr != nil || info.IsDir() {
			return err
		}
	}
	return m.step("remove-all "+name, func() error { return m.mem.RemoveAll(in(name)) })
}

func (m *memFS) SyncDir(name string) error {
	return m.step("sync-dir "+name, func() error { return syncMem(m.mem, in(name)) })
}

type memFile struct {
	m *memFS
	vfs.File
	name string
}

func (f memFile) Read(b []byte) (n int, err error) {
	err = f.m.step("read "+f.name, func() error { n, err = f.File.Read(b); return err })
	return n, err
}

func (f memFile) Write(b []byte) (n int, err error) {
	err = f.m.step("write "+f.name, func() error { n, err = f.File.Write(bytes.Clone(b)); return err })
	return n, err
}

func (f memFile) Sync() error  { return f.m.step("sync "+f.name, f.File.Sync) }
func (f memFile) Close() error { return f.m.step("close "+f.name, f.File.Close) }

func (f memFile) Stat() (fs.FileInfo, error) { return f.File.Stat() }

// testStore is a database of one store partition on disk.
type testStore struct {
	t         testing.TB
	uid       string
	partition int32
	dir       string
	schemas   []kstate.SchemaVersion
	next      int64      // changelog offset
	last      Checkpoint // of what was written last
}

func newTestStore(t testing.TB, uid string, partition int32, schemas ...string) *testStore {
	t.Helper()
	s := &testStore{t: t, uid: uid, partition: partition, dir: filepath.Join(t.TempDir(), "db")}
	for i, schema := range schemas {
		s.schemas = append(s.schemas, kstate.SchemaVersion{Version: i + 1, Schema: schema})
	}
	return s
}

// row is a row to write; nil data deletes.
type row struct {
	key     string
	version int
	data    []byte
}

// write puts rows into the database and moves its position.
func (s *testStore) write(sources []kstate.SourceOffset, rows ...row) {
	s.t.Helper()
	env := kstate.NewEnv(kstate.EnvOptions{})
	id := kstate.Identity{Store: s.uid, Partition: s.partition, Generation: 1, TopicID: [16]byte{1}}
	end := s.next + int64(len(rows)+len(s.schemas)+1)
	r, err := env.Prepare(s.dir, id, kstate.LogBounds{End: end, DeleteRetention: time.Hour, Now: time.Now()})
	must(s.t, err)
	for _, v := range s.schemas {
		must(s.t, r.Apply(s.next, kstate.AppendSchemaKey(nil, v.Version), []byte(v.Schema)))
		s.next++
	}
	for _, x := range rows {
		var value []byte
		if x.data != nil {
			value = kstate.AppendValue(nil, x.version, x.data)
		}
		must(s.t, r.Apply(s.next, kstate.AppendKey(nil, []byte(x.key)), value))
		s.next++
	}
	s.next++ // the marker that ends the transaction
	db, err := r.Finish(kstate.Position{Changelog: s.next, Sources: sources})
	must(s.t, err)
	dir := filepath.Join(s.t.TempDir(), "checkpoint")
	must(s.t, errors.Join(db.Checkpoint(dir), db.Close(), env.Close()))
	s.last = Checkpoint{UID: s.uid, Partition: s.partition, Instance: db.Instance(), Files: openDir(s.t, dir)}
}

func openDir(t testing.TB, dir string) *Dir {
	t.Helper()
	d, err := OpenDir(dir)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testJob is a job of one stage with a store of two schema versions and one of
// one.
type testJob struct {
	arm, sum []*testStore
	sources  [][]kstate.SourceOffset // by partition
}

func newTestJob(t testing.TB) *testJob { return newJobOf(t, 2) }

func newJobOf(t testing.TB, partitions int32) *testJob {
	t.Helper()
	j := &testJob{}
	for p := range partitions {
		at := []kstate.SourceOffset{{Topic: "alarm-events", Partition: p, Offset: 100 + int64(p)}}
		j.sources = append(j.sources, at)
		arm := newTestStore(t, "arm", p, armV1, armV2)
		var rows []row
		for i := range 20 {
			key := fmt.Sprint(int(p)*100 + i)
			if i < 5 {
				rows = append(rows, row{key, 1, []byte{1, 2 * byte(i)}})
			} else {
				rows = append(rows, row{key, 2, []byte{0, 2 * byte(i), 2, 6, 'b', 'o', 'b'}})
			}
		}
		arm.write(at, rows...)
		sum := newTestStore(t, "sum", p, sumV1)
		sum.write(at, row{"a", 1, []byte{84}}, row{"gone", 1, []byte{2}}, row{"gone", 1, nil})
		j.arm, j.sum = append(j.arm, arm), append(j.sum, sum)
	}
	return j
}

func (j *testJob) stores() []*testStore { return append(slices.Clone(j.arm), j.sum...) }

func topicID(b byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{b}, 16))
}

// manifest is the manifest of the job with these parts.
func (j *testJob) manifest(parts []Part) *Manifest {
	m := &Manifest{
		ID: testID, Job: "motion-alarm", Generation: 3, Revision: 1, Run: 2,
		CreatedAt: time.Date(2026, 11, 22, 10, 15, 30, 0, time.UTC), By: "ada@alarm-1",
		Form: Native, JobHash: strings.Repeat("ab", 32),
		Sources: []Topic{{Name: "alarm-events", ID: topicID(7), Partitions: int32(len(j.sources))}},
		Stages:  []Stage{{ID: "in:alarm-events", Partitions: int32(len(j.sources)), Partitioner: topology.Murmur2}},
	}
	for p, at := range j.sources {
		m.Tasks = append(m.Tasks, Task{
			Stage: "in:alarm-events", Partition: int32(p), Sources: at, Frontiers: at,
			Watermarks: []topology.Watermark{{Topic: "alarm-events", Partition: int32(p), Time: 1764000000000}},
		})
	}
	if len(j.sources) > 1 {
		m.Stages[0].Partitioner = topology.Any // the test says where keys are
	}
	of := func(uid string) (own []Part) {
		for _, p := range parts {
			if p.UID == uid {
				own = append(own, p)
			}
		}
		return own
	}
	m.Stores = []Store{
		NewStore(topology.StoreSpec{UID: "arm", Stage: "in:alarm-events", KeyType: "int"}, j.arm[0].schemas, 2, of("arm")),
		NewStore(topology.StoreSpec{UID: "sum", Stage: "in:alarm-events", KeyType: "string"}, j.sum[0].schemas, 1, of("sum")),
	}
	return m
}

const testDefinition = "job: motion-alarm\n"

// save takes a whole savepoint.
func (j *testJob) save(t testing.TB, l *Location, id string) (*Savepoint, error) {
	t.Helper()
	if err := j.attempt(t, l, id, 1); err != nil {
		return nil, err
	}
	return l.Open(id)
}

// attempt does all that the processes and the coordinator do, and aborts after
// an error.
func (j *testJob) attempt(t testing.TB, l *Location, id string, number int) error {
	t.Helper()
	ctx := context.Background()
	coordinator, err := l.Begin(id, number, testToken)
	if err != nil {
		return err
	}
	err = func() error {
		process, err := l.Join(id, number, testToken)
		if err != nil {
			return err
		}
		var parts []Part
		var delivered []string
		for _, s := range j.stores() {
			c := s.last
			if err := process.PreCopy(ctx, c); err != nil {
				return err
			}
			part, err := process.CopyPart(ctx, c)
			if err != nil {
				return err
			}
			sha256, err := process.Deliver(Delivery{Task{Stage: "in:alarm-events", Partition: c.Partition}, []Part{part}})
			if err != nil {
				return err
			}
			delivered = append(delivered, sha256)
		}
		for _, sha256 := range delivered {
			d, err := coordinator.Collect(sha256)
			if err != nil {
				return err
			}
			parts = append(parts, d.Parts...)
		}
		m := j.manifest(parts)
		m.ID = id
		_, err = coordinator.Complete(ctx, m, testDefinition)
		return err
	}()
	if err != nil {
		return errors.Join(err, coordinator.Abort())
	}
	return nil
}

// saveToDisk takes a savepoint in a new directory of the disk.
func (j *testJob) saveToDisk(t testing.TB) (l *Location, s *Savepoint, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "savepoints")
	l, err := OpenLocation(dir)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	s, err = j.save(t, l, testID)
	must(t, err)
	return l, s, filepath.Join(dir, testID)
}

// rawStore is a database that compacts only when told to, and stays open.
type rawStore struct {
	t  *testing.T
	db *pebble.DB
}

func newRawStore(t *testing.T) *rawStore {
	t.Helper()
	db, err := pebble.Open(filepath.Join(t.TempDir(), "raw"), &pebble.Options{
		DisableWAL: true, DisableAutomaticCompactions: true, Logger: quietLogger{}, FormatMajorVersion: pebble.FormatTableFormatV6,
	})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return &rawStore{t, db}
}

// write puts one row and the position into a table of their own.
func (r *rawStore) write(key string, changelog int) {
	r.t.Helper()
	must(r.t, r.db.Set(kstate.AppendKey(nil, []byte(key)), kstate.AppendValue(nil, 1, []byte{2}), pebble.NoSync))
	must(r.t, r.db.Set([]byte(metaPosition), fmt.Appendf(nil, `{"changelog":%d}`, changelog), pebble.NoSync))
	must(r.t, r.db.Flush())
}

// mark puts a deleted marker (P16).
func (r *rawStore) mark(key string) {
	r.t.Helper()
	must(r.t, r.db.Set(kstate.AppendKey(nil, []byte(key)), kstate.AppendValue(nil, 0, nil), pebble.NoSync))
	must(r.t, r.db.Flush())
}

func (r *rawStore) compact() {
	r.t.Helper()
	must(r.t, r.db.Compact(r.t.Context(), []byte{0}, []byte{0xff, 0xff}, false))
}

func (r *rawStore) checkpoint() Checkpoint {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "checkpoint")
	must(r.t, r.db.Checkpoint(dir))
	return Checkpoint{UID: "arm", Instance: "raw", Files: openDir(r.t, dir)}
}
