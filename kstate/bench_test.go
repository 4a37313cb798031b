package kstate

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func benchKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "sensor-%08d", i)
	}
	return keys
}

// cpuTime is what the process has used so far: all threads, so with the
// background writer, Pebble and the garbage collector.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchmarkCycle is the life of keyed counts: Load, Get and Set per record, a
// commit per 100,000 records, Tick as the engine calls it. An op is a record.
func benchmarkCycle(b *testing.B, keys [][]byte, o EnvOptions) {
	o.FS = vfs.Default
	env := newTestEnv(b, o)
	r, err := env.Prepare(b.TempDir()+"/0", testID, LogBounds{Now: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	s := NewStore("store", counterType{}, StoreOptions{Env: env})
	if err := s.Open(finish(b, r, Position{}), []SchemaVersion{{1, "v2"}}, 1); err != nil {
		b.Fatal(err)
	}
	var sink int
	emit := func(key, value []byte) error { sink += len(key) + len(value); return nil }
	pos := Position{}
	const perCommit = 100_000
	end := func() {
		if err := s.Changes(emit); err != nil {
			b.Fatal(err)
		}
		pos.Changelog++
		s.Commit(pos)
		if err := s.Tick(time.Now(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	for _, k := range keys {
		s.BeginRecord()
		set(b, s, string(k), counter{N: 1})
	}
	end()
	b.ReportAllocs()
	b.ResetTimer()
	x := uint64(1)
	cpu := cpuTime(b)
	for i := range b.N {
		x = x*6364136223846793005 + 1442695040888963407
		s.BeginRecord()
		e, _, err := s.Load(keys[(x>>33)%uint64(len(keys))])
		if err != nil {
			b.Fatal(err)
		}
		v, _ := s.Get(e)
		v.N++
		s.Set(e, v)
		if i%perCommit == perCommit-1 {
			end()
		}
	}
	end()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
	closeStore(b, s, false)
}

func BenchmarkLoadGetSetCommit(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			benchmarkCycle(b, benchKeys(n), EnvOptions{})
		})
		b.Run(fmt.Sprintf("memory/keys=%d", n), func(b *testing.B) {
			benchmarkCycle(b, benchKeys(n), EnvOptions{WriteEvery: time.Hour, WriteBackBytes: 1 << 40})
		})
	}
	b.Run("spilling/keys=1000000", func(b *testing.B) {
		benchmarkCycle(b, benchKeys(1_000_000), EnvOptions{WriteBackBytes: 32 << 20})
	})
}

// BenchmarkRestore reads changelogs of 2 M records into empty directories, of
// which four fill at once. An op is a record.
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{100_000, 2_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) { benchmarkRestore(b, n) })
	}
}

func benchmarkRestore(b *testing.B, n int) {
	const parts, records = 4, 500_000
	keys := benchKeys(n / parts)
	cpu := cpuTime(b)
	for b.Loop() {
		env := newTestEnv(b, EnvOptions{FS: vfs.Default, WriteBackBytes: 128 << 20})
		var wg sync.WaitGroup
		for part := range parts {
			dir := fmt.Sprintf("%s/%d", b.TempDir(), part)
			wg.Go(func() {
				r, err := env.Prepare(dir, testID, LogBounds{End: records, DeleteRetention: time.Hour, Now: time.Now()})
				if err != nil {
					b.Error(err)
					return
				}
				var key, value, number []byte
				for i := range records {
					// The order of a changelog is not that of its keys.
					at := i * 7919 % len(keys)
					key = AppendKey(key[:0], keys[at])
					number = binary.AppendVarint(number[:0], int64(i))
					value = AppendValue(value[:0], 1, number)
					if err := r.Apply(int64(i), key, value); err != nil {
						b.Error(err)
						return
					}
				}
				db, err := r.Finish(Position{Changelog: records})
				if err == nil {
					err = db.Close()
				}
				if err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	all := float64(parts * records * b.N)
	b.ReportMetric(all/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(cpuTime(b)-cpu)/all, "cpu-ns/op")
}

// BenchmarkCheckpoint is the cut of a store of 1 M keys: what the worker waits
// for. "dirty" has all of them unwritten; "flushed" had them written in the
// background before, as the engine does, and 20,000 changed since.
func BenchmarkCheckpoint(b *testing.B) {
	for _, flushed := range []bool{false, true} {
		name := "dirty"
		if flushed {
			name = "flushed"
		}
		b.Run(name, func(b *testing.B) { benchmarkCheckpoint(b, flushed) })
	}
}

func benchmarkCheckpoint(b *testing.B, flushed bool) {
	keys := benchKeys(1_000_000)
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		env := newTestEnv(b, EnvOptions{FS: vfs.Default, WriteEvery: time.Hour, WriteBackBytes: 1 << 40})
		r, err := env.Prepare(dir+"/0", testID, LogBounds{Now: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		s := NewStore("store", counterType{}, StoreOptions{Env: env})
		if err := s.Open(finish(b, r, Position{}), []SchemaVersion{{1, "v2"}}, 1); err != nil {
			b.Fatal(err)
		}
		change := func(keys [][]byte) {
			for i, k := range keys {
				s.BeginRecord()
				set(b, s, string(k), counter{N: int64(i)})
			}
			commit(b, s, &changelog{})
		}
		change(keys)
		if flushed {
			s.StartFlush()
			for !s.Flushed() {
				time.Sleep(time.Millisecond)
			}
			change(keys[:20_000])
		}
		b.StartTimer()
		if _, err := s.Checkpoint(dir + "/checkpoint"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		closeStore(b, s, false)
		b.StartTimer()
	}
}

// BenchmarkOpenMany restarts a process with 600 stores, 200 partitions of 3: all
// directories opened and attached, four at a time as the engine does. It reports
// what they keep: files, goroutines and memory.
func BenchmarkOpenMany(b *testing.B) {
	const stores, atOnce, keys = 600, 4, 1000
	root := b.TempDir()
	each := func(do func(dir string)) {
		var wg sync.WaitGroup
		work := make(chan int)
		for range atOnce {
			wg.Go(func() {
				for n := range work {
					do(fmt.Sprintf("%s/%d", root, n))
				}
			})
		}
		for n := range stores {
			work <- n
		}
		close(work)
		wg.Wait()
	}
	open := func(env *Env, dir string) *Store[counter] {
		r, err := env.Prepare(dir, testID, LogBounds{Now: time.Now()})
		if err != nil {
			b.Error(err)
			return nil
		}
		s := NewStore("store", counterType{}, StoreOptions{Env: env})
		if err := s.Open(finish(b, r, Position{}), []SchemaVersion{{1, "v2"}}, 1); err != nil {
			b.Error(err)
		}
		return s
	}
	env := newTestEnv(b, EnvOptions{FS: vfs.Default})
	names := benchKeys(keys)
	each(func(dir string) {
		s := open(env, dir)
		for i, k := range names {
			s.BeginRecord()
			set(b, s, string(k), counter{N: int64(i)})
		}
		if err := s.Changes(func(_, _ []byte) error { return nil }); err != nil {
			b.Error(err)
		}
		s.Commit(Position{})
		closeStore(b, s, true)
	})
	var opened []*Store[counter]
	for b.Loop() {
		b.StopTimer()
		for _, s := range opened {
			closeStore(b, s, false)
		}
		opened = opened[:0]
		var mu sync.Mutex
		b.StartTimer()
		each(func(dir string) {
			s := open(env, dir)
			mu.Lock()
			opened = append(opened, s)
			mu.Unlock()
		})
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(len(fds)), "files")
	b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MB")
	for _, s := range opened {
		closeStore(b, s, false)
	}
}
