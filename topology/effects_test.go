package topology_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// clock is a task's wall clock in tests.
const clock = 1_790_000_000_000

func newTask(t testing.TB, j *topology.Job, stage int, env topology.TaskEnv) *topology.Task {
	t.Helper()
	p, err := j.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if env.Partitions == 0 {
		env.Partitions = 1
	}
	env.Now = func() int64 { return clock }
	task, err := p.NewTask(stage, env)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func commit(t testing.TB, task *topology.Task, changelog int64) {
	t.Helper()
	if err := task.Changes(func(int, []byte, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	pos := make([]kstate.Position, len(task.Stores()))
	for i := range pos {
		pos[i].Changelog = changelog
	}
	task.Commit(pos)
}

// What was handed out stays as it is until Commit, however much follows, and
// whatever is undone meanwhile.
func TestOutputsKeepTheirMemory(t *testing.T) {
	task := newTask(t, stepJob(topology.OnBadRecord(topology.DeadLetter("dead"))), 0, topology.TaskEnv{})
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var taken []topology.Output
		var want []string
		for i := range 1000 {
			size := rng.IntN(300)
			if rng.IntN(50) == 0 {
				size = rng.IntN(100_000)
			}
			text := fmt.Sprintf("%d-%d-%0*d", round, i, size, i)
			key, value := []byte("k"+text[:5]), []byte("emit:"+text)
			if rng.IntN(10) == 0 {
				value = append(value, " fail"...)
				want = append(want, string(key)+"="+string(value))
			} else {
				want = append(want, string(key)+"="+text+"/")
			}
			r := topology.Record{Topic: "in", Offset: int64(i), Key: key, Value: value, Time: clock - 1}
			if err := task.Process(0, &r); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(100) == 0 {
				taken = append(taken, task.Outputs()...)
				task.Take()
			}
			clear(key) // the record's memory is used again
			clear(value)
		}
		taken = append(taken, task.Outputs()...)
		var got []string
		for _, o := range taken {
			got = append(got, string(o.Key)+"="+string(o.Value))
			if cap(o.Key) != len(o.Key) || cap(o.Value) != len(o.Value) {
				t.Fatal("appending to an output would write into another")
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: the outputs changed", round)
		}
		if round%2 == 0 {
			commit(t, task, int64(round))
		} else {
			task.Abort()
		}
		if len(task.Outputs()) != 0 {
			t.Fatal("outputs are left after the end of the transaction")
		}
	}
}

func TestTakeForgets(t *testing.T) {
	task := newTask(t, stepJob(), 0, topology.TaskEnv{})
	process(t, task, topology.Record{Topic: "in", Key: []byte("k"), Value: []byte("emit:1 emit:2")})
	if n := len(task.Outputs()); n != 2 {
		t.Errorf("%d outputs", n)
	}
	task.Take()
	process(t, task, topology.Record{Topic: "in", Offset: 1, Key: []byte("k"), Value: []byte("emit:3")})
	if out := task.Outputs(); len(out) != 1 || string(out[0].Value) != "3/" || out[0].Partition != -1 {
		t.Errorf("outputs %v", out)
	}
	task.Take()
	process(t, task, topology.Record{Topic: "in", Offset: 2, Key: []byte("k"), Value: []byte("emit:4 emit:5")})
	if out := task.Outputs(); &out[0].Key[0] != &out[1].Key[0] {
		t.Error("the key was copied for each output")
	}
	if c := task.Counters(); c.In != 3 || c.Out != 5 {
		t.Errorf("counters %+v", c)
	}
}

func process(t testing.TB, task *topology.Task, r topology.Record) {
	t.Helper()
	if err := task.Process(0, &r); err != nil {
		t.Fatal(err)
	}
}

func TestCounters(t *testing.T) {
	heard := 0
	env := topology.TaskEnv{OnBad: func(b *topology.BadRecord) { heard++ }}
	task := newTask(t, stepJob(topology.OnBadRecord(topology.DeadLetter("dead")), topology.EmptyValues(topology.Skip)), 0, env)
	for i, value := range []string{"emit:1 emit:2", "emit:3 fail", "", "emit:4"} {
		r := topology.Record{Topic: "in", Offset: int64(i), Key: []byte("k"), Value: []byte(value), Time: clock}
		if value == "" {
			r.Value = nil
		}
		if i == 3 {
			r.Time = clock + 3600_001
		}
		process(t, task, r)
	}
	if got := *task.Counters(); got != (topology.Counters{In: 4, Out: 3, Empty: 1, DeadLetters: 1, Clamped: 1}) || heard != 1 {
		t.Errorf("counters %+v, heard of %d", got, heard)
	}
}

// The changelog holds one record per changed key, and a tombstone for a cleared
// one (P22: a kind byte before the key).
func TestChanges(t *testing.T) {
	task := newTask(t, stepJob(), 0, topology.TaskEnv{})
	changes := func() (out []string) {
		err := task.Changes(func(store int, key, value []byte) error {
			if kind := key[0]; kind == 1 {
				out = append(out, fmt.Sprintf("%d %s=%q", store, key[1:], value))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for i, v := range []string{"set:a", "set:b", "emit:x"} {
		process(t, task, topology.Record{Topic: "in", Offset: int64(i), Key: []byte("k"), Value: []byte(v)})
	}
	want(t, "changes", changes(), `0 k="\x01\x02b"`)
	task.Commit(make([]kstate.Position, 1))
	process(t, task, topology.Record{Topic: "in", Offset: 3, Key: []byte("k"), Value: []byte("clear")})
	want(t, "changes", changes(), `0 k=""`)
	task.Abort()
	process(t, task, topology.Record{Topic: "in", Offset: 3, Key: []byte("k"), Value: []byte("emit:x")})
	want(t, "changes", changes())
	if out := task.Outputs(); string(out[0].Value) != "x/b" {
		t.Errorf("after the abort: %s", out[0].Value)
	}
	stop := errors.New("stop")
	process(t, task, topology.Record{Topic: "in", Offset: 4, Key: []byte("k"), Value: []byte("set:c")})
	if err := task.Changes(func(int, []byte, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of emit: %v", err)
	}
}

type slot struct{ N []int64 }

// A type that only decoding can copy: a bad record among others cannot be
// undone alone, and is blamed when it comes alone (P22).
func TestErrIsolate(t *testing.T) {
	job := topology.New("isolate")
	in := topology.From(job, "in", codec.Int64(), topology.OnBadRecord(topology.Skip))
	topology.To(topology.Process(in, "slots", func(c topology.Ctx[slot, int64], n int64) {
		s := c.State()
		s.N = append(s.N, n)
		c.Set(s)
		if n < 0 {
			c.Fail(errors.New("negative"))
		}
		c.Emit(int64(len(s.N)))
	}), "out", codec.Int64())
	task := newTask(t, job, 0, topology.TaskEnv{})
	numbers := []int64{1, 2, -3, 4}
	for i, n := range numbers[:2] {
		process(t, task, numberRecord(i, n))
	}
	r := numberRecord(2, -3)
	if err := task.Process(0, &r); !errors.Is(err, kstate.ErrIsolate) {
		t.Fatalf("bad record: %v", err)
	}
	task.Abort()
	task.Isolate(true)
	var out []int64
	for i, n := range numbers {
		process(t, task, numberRecord(i, n))
		for _, o := range task.Outputs() {
			out = append(out, int64(binary.BigEndian.Uint64(o.Value)))
		}
		commit(t, task, int64(i))
	}
	if !slices.Equal(out, []int64{1, 2, 3}) || task.Counters().Skipped != 1 {
		t.Errorf("outputs %v, counters %+v", out, task.Counters())
	}
}

// A record whose commit failed, though it came alone, is bad too.
func TestReject(t *testing.T) {
	task := newTask(t, stepJob(topology.OnBadRecord(topology.DeadLetter("dead"))), 0, topology.TaskEnv{})
	r := topology.Record{Topic: "in", Offset: 7, Key: []byte("k"), Value: []byte("set:a emit:1"), Time: clock}
	if err := task.Reject(0, &r, errors.New("it does not commit")); err != nil {
		t.Fatal(err)
	}
	out := task.Outputs()
	if len(out) != 1 || task.Stores()[0].Dirty() != 0 || string(out[0].Headers[3].Value) != "it does not commit" {
		t.Errorf("outputs %v", out)
	}
	if p := task.Progress(); len(p.Frontiers) != 1 || p.Frontiers[0].Offset != 8 {
		t.Errorf("progress %+v", p)
	}
	strict := newTask(t, stepJob(), 0, topology.TaskEnv{})
	if err := strict.Reject(0, &r, errors.New("it does not commit")); !errors.As(err, new(*topology.BadRecord)) {
		t.Errorf("policy fail: %v", err)
	}
}

func numberRecord(offset int, n int64) topology.Record {
	return topology.Record{Topic: "in", Offset: int64(offset), Key: []byte("k"), Value: binary.BigEndian.AppendUint64(nil, uint64(n)), Time: clock}
}

func TestProgress(t *testing.T) {
	task := newTask(t, alarmJob(topology.OnBadRecord(topology.Skip)), 0, topology.TaskEnv{Partition: 0, Partitions: 1})
	record := func(offset, time int64) topology.Record {
		value := fmt.Sprintf(`{"type":"activate","room":1,"time":%d}`, time)
		return topology.Record{Topic: "alarm-events", Offset: offset, Key: []byte("1"), Value: []byte(value), Time: clock}
	}
	check := func(what string, offset, watermark int64) {
		t.Helper()
		p := task.Progress()
		var fs []kstate.SourceOffset
		var ws []topology.Watermark
		if offset > 0 {
			fs = []kstate.SourceOffset{{Topic: "alarm-events", Offset: offset}}
			ws = []topology.Watermark{{Topic: "alarm-events", Time: watermark}}
		}
		if !slices.Equal(p.Frontiers, fs) || !slices.Equal(p.Watermarks, ws) {
			t.Errorf("%s: %+v", what, p)
		}
	}
	check("at first", 0, 0)
	process(t, task, record(10, 20_000))
	check("one record", 11, 15_000)
	commit(t, task, 1)
	process(t, task, record(12, 19_000)) // an older one moves nothing back
	check("two records", 13, 15_000)
	process(t, task, record(13, 30_000))
	check("three records", 14, 25_000)
	task.Abort()
	check("after the abort", 11, 15_000)
	bad := record(12, 90_000)
	bad.Key = []byte("2")
	process(t, task, bad) // skipped: consumed, but its time counts for nothing
	check("a bad record", 13, 15_000)
	process(t, task, record(13, -1<<63))
	process(t, task, record(14, 1<<63-1)) // D4
	check("times out of range", 15, clock+3600_000-5000)

	if n := task.Counters().Clamped; n != 1 {
		t.Errorf("%d clamped", n)
	}
	far := record(15, 1<<62)
	far.Time = clock + 2*3600_000 // both times are out of range, the record is one
	process(t, task, far)
	if n := task.Counters().Clamped; n != 2 {
		t.Errorf("%d clamped", n)
	}

	next := newTask(t, alarmJob(), 0, topology.TaskEnv{})
	p := task.Progress()
	p.Watermarks = append(p.Watermarks, topology.Watermark{Topic: "gone", Time: 1})
	next.SetProgress(p)
	next.Abort()
	if !reflect.DeepEqual(next.Progress(), task.Progress()) {
		t.Errorf("handed on as %+v", next.Progress())
	}
}

// A record without a value says nothing of event time.
func TestEmptyValueMovesNoWatermark(t *testing.T) {
	task := newTask(t, alarmJob(topology.EmptyValues(topology.Skip)), 0, topology.TaskEnv{})
	process(t, task, topology.Record{Topic: "alarm-events", Key: []byte("1"), Time: clock})
	if p := task.Progress(); len(p.Watermarks) != 0 || p.Frontiers[0].Offset != 1 {
		t.Errorf("progress %+v", p)
	}
}

// The clock is asked only for records that are newer than its last answer.
func TestClockIsAskedRarely(t *testing.T) {
	plan, err := stepJob().Plan()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	task, err := plan.NewTask(0, topology.TaskEnv{Partitions: 1, Now: func() int64 { asked++; return clock }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		process(t, task, topology.Record{Topic: "in", Offset: int64(i), Key: []byte("k"), Value: []byte("emit:x"), Time: clock - int64(i)})
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// P10: behind a KeyBy the frontier is that of the source partitions.
func TestP10Frontiers(t *testing.T) {
	task := newTask(t, tallyJob(), 1, topology.TaskEnv{})
	value, err := codec.Avro[tally]().Append(nil, &tally{Minute: 1, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	record := func(partition int32, offset int64) topology.Record {
		origin := topology.AppendOrigin(nil, 77, "alarm-events", partition, offset)
		return topology.Record{
			Topic: "procd.tally.g1.by-minute.repartition", Offset: 3, Key: []byte("1"), Value: value, Time: clock,
			Headers: []topology.Header{{Key: "other"}, {Key: topology.HeaderOrigin, Value: origin}},
		}
	}
	for _, at := range [][2]int64{{2, 100}, {0, 7}, {2, 90}, {2, 101}, {0, 8}, {2, 95}} {
		process(t, task, record(int32(at[0]), at[1]))
	}
	want := []kstate.SourceOffset{{Topic: "alarm-events", Partition: 2, Offset: 102}, {Topic: "alarm-events", Partition: 0, Offset: 9}}
	if p := task.Progress(); !slices.Equal(p.Frontiers, want) || len(p.Watermarks) != 0 {
		t.Errorf("progress %+v", p)
	}
	lost := record(0, 9)
	lost.Headers = nil
	if err := task.Process(0, &lost); !errors.Is(err, topology.ErrOrigin) {
		t.Errorf("without header: %v", err)
	}
	lost.Headers = []topology.Header{{Key: topology.HeaderOrigin, Value: []byte{1}}}
	if err := task.Process(0, &lost); !errors.Is(err, topology.ErrOrigin) || errors.As(err, new(*topology.BadRecord)) {
		t.Errorf("damaged header: %v", err)
	}
}

// doorCodec decodes without a library, so that what is counted is the task's.
type doorCodec struct{}

func (doorCodec) Append(dst []byte, v *event) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.Room))
	return binary.BigEndian.AppendUint64(dst, uint64(v.Time)), nil
}

func (doorCodec) Decode(data []byte, v *event) error {
	*v = event{Type: "motion", Room: int(binary.BigEndian.Uint64(data)), Time: int64(binary.BigEndian.Uint64(data[8:]))}
	return nil
}

// allocJob has every kind of step and output.
func allocJob() *topology.Job {
	job := topology.New("alloc")
	in := topology.From(job, "in", doorCodec{}, topology.PartitionedBy(room), topology.EventTime(when, time.Second))
	in = topology.Filter(in, func(e event) bool { return e.Room >= 0 })
	in = topology.Map(in, func(e event) event { e.Time++; return e })
	in = topology.FlatMap(in, func(c topology.Ctx[topology.None, event], e event) { c.Emit(e) })
	out := topology.Process(in, "arm", func(c topology.Ctx[armed, event], e event) {
		s := c.State()
		c.Set(armed{Active: !s.Active, Since: e.Time})
		c.Emit(event{Room: e.Room, Time: c.Meta().Time})
	})
	out = topology.Reduce(out, "sum", func(a, b event) event { return event{Room: a.Room, Time: max(a.Time, b.Time)} })
	topology.To(out, "out", doorCodec{})
	topology.To(out, "rekeyed", doorCodec{}, topology.KeyedBy(when))
	topology.ToStdout(topology.KeyBy(out, "by-time", when, doorCodec{}), doorCodec{})
	return job
}

// feed runs n records of 100 keys through a task.
func feed(t testing.TB, task *topology.Task, r *topology.Record, keys [][]byte, n int) {
	for i := range n {
		k := i % len(keys)
		r.Offset++
		r.Key = keys[k]
		binary.BigEndian.PutUint64(r.Value, uint64(k))
		if err := task.Process(0, r); err != nil {
			t.Fatal(err)
		}
	}
	task.Take()
}

func allocTask(t testing.TB) (*topology.Task, *topology.Record, [][]byte) {
	task := newTask(t, allocJob(), 0, topology.TaskEnv{})
	r, keys := allocRecord()
	for i := range 5 {
		feed(t, task, r, keys, 2000)
		commit(t, task, int64(i))
	}
	return task, r, keys
}

func allocRecord() (*topology.Record, [][]byte) {
	var keys [][]byte
	for i := range 100 {
		keys = append(keys, fmt.Append(nil, i))
	}
	return &topology.Record{Topic: "in", Value: make([]byte, 16), Time: clock - 1}, keys
}

func TestProcessAllocatesNothing(t *testing.T) {
	task, r, keys := allocTask(t)
	n := testing.AllocsPerRun(20, func() {
		feed(t, task, r, keys, 2000)
		task.Abort()
	})
	if n > 0 {
		t.Errorf("%v allocations per 2,000 records", n)
	}
}

func BenchmarkProcess(b *testing.B) {
	task, r, keys := allocTask(b)
	b.ReportAllocs()
	for b.Loop() {
		feed(b, task, r, keys, 1000)
		commit(b, task, 9)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkAlarm(b *testing.B) {
	task := newTask(b, alarmJob(), 0, topology.TaskEnv{})
	var keys [][]byte
	var values [][]byte
	for i := range 1000 {
		keys = append(keys, fmt.Append(nil, i))
		values = append(values, fmt.Appendf(nil, `{"type":%q,"room":%d,"time":%d,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`, []string{"activate", "motion"}[i%2], i, 1_700_000_000_000+i))
	}
	r := &topology.Record{Topic: "alarm-events", Time: clock - 1}
	b.ReportAllocs()
	for b.Loop() {
		for i := range keys {
			r.Offset++
			r.Key, r.Value = keys[i], values[i]
			if err := task.Process(0, r); err != nil {
				b.Fatal(err)
			}
		}
		task.Take()
		commit(b, task, 9)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
