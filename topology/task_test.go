package topology_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// command is text that tells the step of stepJob what to do, in order: "set:x",
// "clear", "emit:x", "fail", "panic", "index".
type command = string

func obey(c topology.Ctx[string, string], v command) {
	for _, word := range strings.Fields(v) {
		name, arg, _ := strings.Cut(word, ":")
		switch name {
		case "set":
			c.Set(arg)
		case "clear":
			c.Clear()
		case "emit":
			c.Emit(arg + "/" + c.State())
		case "fail":
			c.Fail(errors.New("refused"))
		case "panic":
			panic("out of cheese")
		case "index":
			c.Emit(fmt.Sprint([]int{}[len(word)]))
		case "big":
			n, _ := strconv.Atoi(arg)
			c.Emit(strings.Repeat("x", n))
		case "bigstate":
			n, _ := strconv.Atoi(arg)
			c.Set(strings.Repeat("x", n))
		}
	}
}

func stepJob(opts ...topology.SourceOption) *topology.Job {
	job := topology.New("steps")
	in := topology.From(job, "in", codec.String(), opts...)
	topology.To(topology.Process(in, "step", obey), "out", codec.String())
	return job
}

func TestBadRecordLeavesNothing(t *testing.T) {
	for _, test := range []struct{ bad, reason string }{
		{"emit:a set:b emit:c fail emit:d set:e clear", "refused"},
		{"emit:a clear fail set:x", "refused"},
		{"set:b emit:c panic", "procd/topology: panic: out of cheese in github.com/procd/procd/topology_test.obey ("},
		{"emit:a index", "index out of range [5] with length 0 in github.com/procd/procd/topology_test.obey ("},
		{"set:b emit:a big:2000", "output out: procd/topology: larger than the broker takes: 2071 bytes, at most 1000"},
		{"emit:a bigstate:2000 emit:b", "state of step: procd/topology: larger than the broker takes"},
	} {
		for _, policy := range []topology.Policy{topology.Fail, topology.Skip, topology.DeadLetter("dead")} {
			d := newDriver(t, stepJob(topology.OnBadRecord(policy)), topology.MaxRecordBytes(1000))
			send(t, d, "in", "k", "set:a emit:1")
			err := d.Send("in", []byte("k"), []byte(test.bad), -1)
			if bad := (*topology.BadRecord)(nil); errors.As(err, &bad) != (policy == topology.Fail) {
				t.Errorf("%s, %s: error %v", test.bad, policy, err)
			}
			if bad := d.Rejected(); len(bad) != 1 || bad[0].Offset != 1 || bad[0].Topic != "in" || !strings.Contains(bad[0].Error(), test.reason) {
				t.Errorf("%s, %s: rejected %v, want %q", test.bad, policy, bad, test.reason)
			}
			send(t, d, "in", "k", "emit:2")
			want(t, test.bad, values(d, "out"), "1/a", "2/a")
			checkDeadLetter(t, d, policy, test.bad, test.reason)
		}
	}
}

func checkDeadLetter(t *testing.T, d *topology.Driver, policy topology.Policy, value, reason string) {
	t.Helper()
	out := d.Outputs("dead")
	if policy != topology.DeadLetter("dead") {
		if len(out) != 0 {
			t.Errorf("dead letters under %s: %v", policy, out)
		}
		return
	}
	if len(out) != 1 {
		t.Errorf("%s: %d dead letters", value, len(out))
		return
	}
	r := out[0]
	for name, text := range map[string]string{
		topology.HeaderTopic: "in", topology.HeaderPartition: "0", topology.HeaderOffset: "1", topology.HeaderError: reason,
	} {
		if got := string(r.Header(name)); !strings.Contains(got, text) {
			t.Errorf("%s: header %s is %q, want %q", value, name, got, text)
		}
	}
	if string(r.Key) != "k" || string(r.Value) != value {
		t.Errorf("dead letter %q: %q", r.Key, r.Value)
	}
}

// After Fail a step's further words change nothing, and nobody hears them.
func TestFailIsFinal(t *testing.T) {
	job := topology.New("final")
	in := topology.From(job, "in", codec.String(), topology.OnBadRecord(topology.Skip))
	heard := 0
	words := topology.Process(in, "step", func(c topology.Ctx[string, string], v string) {
		c.Set("before")
		c.Fail(errors.New("first"))
		c.Fail(errors.New("second"))
		c.Emit(v)
		if c.Clear(); c.State() != "before" {
			t.Error("Clear took effect")
		}
		if c.Set("after"); c.State() != "before" {
			t.Error("Set took effect")
		}
		panic("third")
	})
	topology.To(topology.Map(words, func(v string) string { heard++; return v }), "out", codec.String())
	sums := topology.ReducePer(in, "sum", func() func(a, b string) (string, error) {
		return func(a, b string) (string, error) { return a + b, nil }
	})
	topology.To(topology.Map(sums, func(v string) string { heard++; return v }), "sums", codec.String())
	d := newDriver(t, job)
	send(t, d, "in", "k", "x")
	if r := d.Rejected(); len(r) != 1 || r[0].Err.Error() != "first" || heard != 0 {
		t.Errorf("rejected %v, heard %d times", r, heard)
	}
}

// A Reduce that fails hands nothing on, and keeps what it had.
func TestReduceFails(t *testing.T) {
	job := topology.New("reduce")
	in := topology.From(job, "in", codec.String(), topology.OnBadRecord(topology.Skip))
	heard := []string{}
	sums := topology.ReducePer(in, "sum", func() func(a, b string) (string, error) {
		return func(a, b string) (string, error) {
			if b == "bad" {
				return "wrong", errors.New("bad")
			}
			return a + b, nil
		}
	})
	topology.To(topology.Map(sums, func(v string) string { heard = append(heard, v); return v }), "out", codec.String())
	d := newDriver(t, job, topology.MaxRecordBytes(120))
	for _, v := range []string{"a", "bad", "b", strings.Repeat("x", 60), "c"} {
		send(t, d, "in", "k", v)
	}
	want(t, "heard", heard, "a", "ab", "abc")
	want(t, "out", values(d, "out"), "a", "ab", "abc")
}

// D2: key, value, headers and what Kafka adds count.
func TestOutputSize(t *testing.T) {
	d := newDriver(t, stepJob(), topology.MaxRecordBytes(1000))
	const fits = 1000 - 70 - len("k") - len("/")
	send(t, d, "in", "k", fmt.Sprint("emit:", strings.Repeat("x", fits)))
	for _, test := range []struct {
		size int
		at   int64
	}{{fits + 1, -1}, {fits, d.Now() + 1}} { // the second needs a header
		err := d.Send("in", []byte("k"), fmt.Append(nil, "emit:", strings.Repeat("x", test.size)), test.at)
		if !errors.Is(err, topology.ErrTooLarge) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// What is too large even as a dead letter stops the job.
func TestDeadLetterTooLarge(t *testing.T) {
	d := newDriver(t, stepJob(topology.OnBadRecord(topology.DeadLetter("dead"))), topology.MaxRecordBytes(1000))
	err := d.Send("in", []byte("k"), []byte("fail "+strings.Repeat("x", 2000)), -1)
	if !errors.As(err, new(*topology.BadRecord)) || !strings.Contains(err.Error(), "cannot become a dead letter") || !errors.Is(err, topology.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if len(d.Outputs("dead")) != 0 {
		t.Errorf("dead letters %v", d.Outputs("dead"))
	}
}

// brokenType panics inside the store.
type brokenType struct{ kstate.Type[string] }

func (brokenType) Copy(_, _ *string) bool { return false }

func (brokenType) Append(dst []byte, v *string) ([]byte, error) { panic("broken " + *v) }

// Where the store itself panics nothing is known of the state: going on would
// be guessing.
func TestPanicOfTheStoreGoesOn(t *testing.T) {
	job := topology.New("broken")
	in := topology.From(job, "in", codec.String(), topology.OnBadRecord(topology.Skip))
	topology.Process(in, "step", obey, topology.StateAs[string](brokenType{codec.State[string]()}))
	d := newDriver(t, job)
	defer func() {
		if p := recover(); p != "broken a" {
			t.Errorf("recovered %v", p)
		}
	}()
	_ = d.Send("in", []byte("k"), []byte("set:a"), -1)
	t.Error("the panic was swallowed")
}

// In a transaction of several records only the bad one is undone.
func TestBadRecordAmongOthers(t *testing.T) {
	d := newDriver(t, stepJob(topology.OnBadRecord(topology.Skip)), topology.ManualCommit())
	for _, v := range []string{"set:a", "set:b fail", "emit:1", "clear fail", "emit:2 set:c", "clear", "emit:3", "set:d fail", "emit:4"} {
		send(t, d, "in", "k", v)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, "outputs", values(d, "out"), "1/a", "2/a", "3/", "4/")
}

func TestAbortForgets(t *testing.T) {
	d := newDriver(t, stepJob(), topology.ManualCommit())
	send(t, d, "in", "k", "set:a")
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	send(t, d, "in", "k", "emit:x set:b emit:y")
	send(t, d, "in", "new", "set:z")
	d.Abort()
	send(t, d, "in", "k", "emit:1")
	send(t, d, "in", "new", "emit:2")
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, "outputs", values(d, "out"), "1/a", "2/")
}

// P22: a record that a commit cannot blame is blamed when it is replayed alone.
func TestP22Isolate(t *testing.T) {
	d := newDriver(t, stepJob(topology.OnBadRecord(topology.Skip)), topology.ManualCommit(), topology.MaxRecordBytes(1000))
	send(t, d, "in", "ok", "set:a")
	send(t, d, "in", "k", "bigstate:2000")
	var bad *kstate.KeyError
	if err := d.Commit(); !errors.As(err, &bad) || string(bad.Key) != "k" || bad.Store != "step" || !errors.Is(bad.Err, topology.ErrTooLarge) {
		t.Fatalf("commit: %v", err)
	}
	alone := newDriver(t, stepJob(topology.OnBadRecord(topology.Skip)), topology.MaxRecordBytes(1000))
	send(t, alone, "in", "ok", "set:a")
	send(t, alone, "in", "k", "bigstate:2000")
	if r := alone.Rejected(); len(r) != 1 || r[0].Offset != 1 || !errors.Is(r[0], topology.ErrTooLarge) {
		t.Errorf("rejected %v", r)
	}
	if states, err := topology.StateOf[string](alone, "step"); err != nil || len(states) != 1 || states["ok"] != "a" {
		t.Errorf("states %v, %v", states, err)
	}
}

func TestNullKey(t *testing.T) {
	d := newDriver(t, stepJob())
	if err := d.Send("in", nil, []byte("emit:a"), -1); !errors.Is(err, topology.ErrNullKey) {
		t.Errorf("null key: %v", err)
	}
	send(t, d, "in", "", "emit:b") // an empty key is a key
	want(t, "outputs", values(d, "out"), "b/")
	stateless := topology.New("copy")
	topology.To(topology.From(stateless, "in", codec.String()), "out", codec.String())
	d = newDriver(t, stateless)
	if err := d.Send("in", nil, []byte("x"), -1); err != nil || len(d.Outputs("out")) != 1 || d.Outputs("out")[0].Key != nil {
		t.Errorf("without state: %v, %v", d.Outputs("out"), err)
	}
}

func TestEmptyValues(t *testing.T) {
	d := newDriver(t, stepJob())
	if err := d.Send("in", []byte("k"), nil, -1); !errors.Is(err, topology.ErrEmptyValue) {
		t.Errorf("fail: %v", err)
	}
	d = newDriver(t, stepJob(topology.EmptyValues(topology.Skip)))
	if err := d.Send("in", []byte("k"), nil, -1); err != nil || len(d.Rejected()) != 0 {
		t.Errorf("skip: %v, %v", err, d.Rejected())
	}
	send(t, d, "in", "k", "") // no bytes are a value
}

func TestKeyField(t *testing.T) {
	d := newDriver(t, alarmJob(topology.OnBadRecord(topology.DeadLetter("dead"))))
	for _, key := range [][]byte{nil, {}, []byte("01"), []byte("2"), []byte("1 ")} {
		if err := d.Send("alarm-events", key, []byte(`{"type":"activate","room":1,"time":0}`), -1); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	send(t, d, "alarm-events", "1", `{"type":"motion","room":1,"time":9000}`)
	if len(d.Rejected()) != 5 || len(d.Outputs("dead")) != 5 || len(d.Outputs("alarms")) != 0 {
		t.Errorf("rejected %v, alarms %v", d.Rejected(), values(d, "alarms"))
	}
	for _, bad := range d.Rejected() {
		if !errors.Is(bad, topology.ErrKeyField) || !strings.Contains(bad.Error(), `should be "1"`) {
			t.Error(bad)
		}
	}
	if d.Outputs("dead")[0].Key != nil || d.Outputs("dead")[1].Key == nil {
		t.Error("a dead letter's key is not the record's")
	}
}

// A record with the wrong key goes no further, and no key is not the empty one.
func TestKeyFieldStopsTheRecord(t *testing.T) {
	job := topology.New("keys")
	in := topology.From(job, "in", codec.String(), topology.PartitionedBy(func(v string) string { return v }), topology.OnBadRecord(topology.Skip))
	heard := []string{}
	topology.To(topology.Map(in, func(v string) string { heard = append(heard, v); return v }), "out", codec.String())
	d := newDriver(t, job)
	send(t, d, "in", "b", "a")
	send(t, d, "in", "", "")
	if err := d.Send("in", nil, []byte{}, -1); err != nil {
		t.Error(err)
	}
	want(t, "heard", heard, "")
	if len(d.Rejected()) != 2 {
		t.Errorf("rejected %v", d.Rejected())
	}
}

// ownCodec works only as a task's own.
type ownCodec struct{ codec.Codec[string] }

func (ownCodec) ForTask() codec.Codec[string] { return ownCodec{codec.String()} }

func TestCodecPerTask(t *testing.T) {
	job := topology.New("own")
	in := topology.KeyBy(topology.From(job, "in", ownCodec{}), "again", func(v string) string { return v }, ownCodec{})
	topology.To(in, "out", ownCodec{})
	d := newDriver(t, job)
	send(t, d, "in", "k", "x")
	want(t, "out", values(d, "out"), "x")
}

func TestFailWithoutReason(t *testing.T) {
	job := topology.New("nil")
	in := topology.From(job, "in", codec.String())
	topology.To(topology.FlatMap(in, func(c topology.Ctx[topology.None, string], _ string) { c.Fail(nil) }), "out", codec.String())
	if err := newDriver(t, job).Send("in", nil, []byte("x"), -1); err == nil || !strings.Contains(err.Error(), "without a reason") {
		t.Error(err)
	}
}

// An aborted record has the same offset when it comes again, and counts once.
func TestAbortRewinds(t *testing.T) {
	d := newDriver(t, stepJob(topology.OnBadRecord(topology.Skip)), topology.ManualCommit())
	for range 300 {
		send(t, d, "in", "k", "emit:x")
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		d.Abort()
		for range 400 {
			send(t, d, "in", "k", "fail")
		}
	}
	if r := d.Rejected(); len(r) != 2000 || r[0].Offset != 300 || r[1999].Offset != 699 {
		t.Errorf("%d rejected, the last %v", len(r), r[len(r)-1])
	}
}

// P24: a key on a partition where the partitioner does not put it.
func TestP24Partitioner(t *testing.T) {
	for _, p := range []topology.Partitioner{topology.Murmur2, topology.CRC32, topology.FNV} {
		d := newDriver(t, stepJob(topology.PartitionedWith(p), topology.OnBadRecord(topology.Skip)), topology.Partitions(8))
		key := []byte("room-17")
		home := p.Partition(key, 8)
		r := topology.Record{Topic: "in", Partition: home, Key: key, Value: []byte("set:a")}
		if err := d.SendRecord(r); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		r.Partition = (home + 1) % 8
		var refused *topology.Refused
		err := d.SendRecord(r)
		copy(key, "xxxxxxx") // the record's memory is used again
		if !errors.As(err, &refused) || refused.Want != home || refused.Partition != r.Partition {
			t.Fatalf("%s: %v", p, err)
		}
		for _, part := range []string{"topic in ", `"room-17"`, fmt.Sprint("partition ", r.Partition), fmt.Sprint("puts it on ", home), "`input.partitioner: murmur2 | crc32 | fnv | any`"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q lacks %q", p, err, part)
			}
		}
	}
	d := newDriver(t, stepJob(topology.PartitionedWith(topology.Any)), topology.Partitions(8))
	for p := range int32(8) {
		if err := d.SendRecord(topology.Record{Topic: "in", Partition: p, Key: []byte("k"), Value: []byte("set:a")}); err != nil {
			t.Errorf("any: %v", err)
		}
	}
}

// P23: the Kafka timestamp is the input's, at most now; event time is a header.
func TestP23Timestamps(t *testing.T) {
	start := time.UnixMilli(1_790_000_000_000)
	now := start.UnixMilli()
	d := newDriver(t, alarmJob(), topology.Clock(start))
	send(t, d, "alarm-events", "1", `{"type":"activate","room":1,"time":0}`)
	for i, test := range []struct {
		at, event, kafka int64
		header           string
	}{
		{now, 6000, now, "6000"},
		{now - 5, 6000, now - 5, "6000"},
		{now + 1000, 6000, now, "6000"},
		{-1, 6000, now, "6000"},
		{now - 7, now - 7, now - 7, ""},
		{now - 7, now + 3600_000, now - 7, strconv.FormatInt(now-7+3600_000, 10)}, // D4
		{now + 1000, now + 3600_500, now, strconv.FormatInt(now+3600_500, 10)},    // P27: by the log's time
		{now + 4000_000, 1 << 60, now, strconv.FormatInt(now+3600_000, 10)},       // D4
	} {
		value := fmt.Sprintf(`{"type":"motion","room":1,"time":%d}`, test.event)
		if err := d.Send("alarm-events", []byte("1"), []byte(value), test.at); err != nil {
			t.Fatal(err)
		}
		r := d.Outputs("alarms")[i]
		if got := string(r.Header(topology.HeaderTime)); r.Time != test.kafka || got != test.header {
			t.Errorf("%+v: time %d, header %q", test, r.Time, got)
		}
	}
}

// Without a field for it the event time is the Kafka timestamp, also where that
// is somewhat ahead.
func TestP23WithoutEventTime(t *testing.T) {
	start := time.UnixMilli(1_790_000_000_000)
	now := start.UnixMilli()
	d := newDriver(t, stepJob(), topology.Clock(start))
	for i, test := range []struct {
		at, kafka int64
		header    string
	}{
		{now - 5, now - 5, ""},
		{now + 1000, now, strconv.FormatInt(now+1000, 10)},
		{now + 4000_000, now, strconv.FormatInt(now+3600_000, 10)},
	} {
		if err := d.Send("in", []byte("k"), []byte("emit:x"), test.at); err != nil {
			t.Fatal(err)
		}
		r := d.Outputs("out")[i]
		if got := string(r.Header(topology.HeaderTime)); r.Time != test.kafka || got != test.header {
			t.Errorf("%+v: time %d, header %q", test, r.Time, got)
		}
	}
}

// D1: a bad schema must not drain the topic into the dead letters.
func TestCapOnBadRecords(t *testing.T) {
	d := newDriver(t, stepJob(topology.OnBadRecord(topology.DeadLetter("dead"))), topology.ManualCommit())
	bad := func() error { return d.Send("in", []byte("k"), []byte("fail"), -1) }
	for range 700 {
		send(t, d, "in", "k", "emit:x")
	}
	for i := range 500 {
		if err := bad(); err != nil {
			t.Fatalf("bad record %d: %v", i, err)
		}
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	// 500 of the last 1,000 now; an aborted one does not count twice.
	for range 3 {
		if err := bad(); !errors.Is(err, topology.ErrTooManyBad) {
			t.Fatalf("beyond half: %v", err)
		}
		d.Abort()
	}
	if n := len(d.Outputs("dead")); n != 500 {
		t.Errorf("%d dead letters", n)
	}
	send(t, d, "in", "k", "emit:x") // takes the place of a good one
	if err := bad(); !errors.Is(err, topology.ErrTooManyBad) {
		t.Errorf("still beyond half: %v", err)
	}
}

func TestUndecodable(t *testing.T) {
	d := newDriver(t, alarmJob(topology.OnBadRecord(topology.DeadLetter("dead"))))
	garbage := []byte("\xff\x00{")
	if err := d.Send("alarm-events", []byte("1"), garbage, -1); err != nil {
		t.Fatal(err)
	}
	if r := d.Outputs("dead"); len(r) != 1 || !bytes.Equal(r[0].Value, garbage) || !strings.Contains(string(r[0].Header(topology.HeaderError)), "JSON") {
		t.Errorf("dead letters %v", r)
	}
	d = newDriver(t, alarmJob())
	err := d.Send("alarm-events", []byte("1"), garbage, -1)
	if err == nil || !strings.HasPrefix(err.Error(), "bad record alarm-events-0 at offset 0: procd/codec: JSON") {
		t.Errorf("fail: %v", err)
	}
}

// The policy of the source holds behind a KeyBy too, with the coordinates of
// the record in the source.
func TestBadRecordInSecondStage(t *testing.T) {
	job := topology.New("two")
	in := topology.From(job, "in", codec.String(), topology.OnBadRecord(topology.DeadLetter("dead")))
	pairs := topology.FlatMap(in, func(c topology.Ctx[topology.None, string], v string) {
		for _, word := range strings.Split(v, ",") {
			c.Emit(word)
		}
	})
	keyed := topology.KeyBy(pairs, "by-first", func(v string) string { return v[:1] }, codec.String())
	topology.To(topology.Process(keyed, "step", obey), "out", codec.String())
	d := newDriver(t, job, topology.Partitions(2))
	send(t, d, "in", "k", "set:a")
	send(t, d, "in", "k", "emit:1,set:b fail,sit,emit:2")
	want(t, "outputs", values(d, "out"), "1/", "2/")
	if r := d.Outputs("dead"); len(r) != 1 || string(r[0].Header(topology.HeaderTopic)) != "in" || string(r[0].Header(topology.HeaderOffset)) != "1" ||
		string(r[0].Header(topology.HeaderStage)) != "by:by-first" || string(r[0].Value) != "set:b fail" || string(r[0].Key) != "s" {
		t.Errorf("dead letters %v", r)
	}
}

func TestStatelessSetFails(t *testing.T) {
	job := topology.New("stateless")
	in := topology.From(job, "in", codec.String())
	topology.To(topology.FlatMap(in, func(c topology.Ctx[topology.None, string], v string) {
		if c.Has() {
			c.Emit("state")
		}
		c.Clear()
		c.Set(c.State())
	}), "out", codec.String())
	d := newDriver(t, job)
	if err := d.Send("in", nil, []byte("x"), -1); !errors.Is(err, topology.ErrNoState) {
		t.Errorf("%v", err)
	}
}

func TestMeta(t *testing.T) {
	job := topology.New("meta")
	in := topology.From(job, "in", codec.String(), topology.EventTime(func(v string) int64 { n, _ := strconv.Atoi(v); return int64(n) }, 0))
	show := func(c topology.Ctx[topology.None, string], _ string) {
		m := c.Meta()
		if c.Logger() == nil {
			c.Fail(errors.New("no logger"))
		}
		c.Emit(fmt.Sprintf("%s %d %s-%d@%d %d", m.Key, m.Time, m.Topic, m.Partition, m.Offset, len(m.Headers)))
	}
	topology.To(topology.FlatMap(in, show), "first", codec.String())
	rekeyed := topology.KeyBy(in, "again", func(string) bool { return true }, codec.String())
	topology.To(topology.FlatMap(rekeyed, show), "second", codec.String())
	d := newDriver(t, job)
	for range 2 {
		if err := d.SendRecord(topology.Record{Topic: "in", Key: []byte("k"), Value: []byte("77"), Time: -1, Headers: []topology.Header{{Key: "h"}}}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "first", values(d, "first"), "k 77 in-0@0 1", "k 77 in-0@1 1")
	want(t, "second", values(d, "second"), "true 77 in-0@0 0", "true 77 in-0@1 0")
}

// Several steps take one stream; a failure in one undoes all.
func TestSeveralTakers(t *testing.T) {
	job := topology.New("fan")
	in := topology.Filter(topology.From(job, "in", codec.String(), topology.OnBadRecord(topology.Skip)), func(v string) bool { return v != "drop" })
	topology.To(in, "a", codec.String())
	topology.To(topology.Process(in, "step", obey), "b", codec.String())
	called := 0
	topology.To(topology.Map(in, func(v string) string { called++; return v + "!" }), "c", codec.String())
	topology.ToStdout(in, codec.String())
	d := newDriver(t, job)
	send(t, d, "in", "k", "emit:1")
	send(t, d, "in", "k", "emit:2 fail")
	send(t, d, "in", "k", "drop")
	want(t, "a", values(d, "a"), "emit:1")
	want(t, "b", values(d, "b"), "1/")
	want(t, "c", values(d, "c"), "emit:1!")
	want(t, "stdout", values(d, "stdout"), "emit:1")
	if called != 1 {
		t.Errorf("a taker behind the failing one was called %d times", called)
	}
}

func TestReduce(t *testing.T) {
	job := topology.New("reduce")
	in := topology.From(job, "in", codec.Int64(), topology.OnBadRecord(topology.Skip))
	sums := topology.ReducePer(in, "sum", func() func(a, b int64) (int64, error) {
		return func(a, b int64) (int64, error) {
			if b < 0 {
				return 0, errors.New("negative")
			}
			return a + b, nil
		}
	})
	topology.To(sums, "sums", codec.Int64())
	d := newDriver(t, job)
	for _, n := range []int64{-3, 5, -1, 7} {
		value, _ := codec.Int64().Append(nil, &n)
		if err := d.Send("in", []byte("k"), value, -1); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	for _, r := range d.Outputs("sums") {
		var n int64
		if err := codec.Int64().Decode(r.Value, &n); err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if fmt.Sprint(got) != "[-3 2 9]" || len(d.Rejected()) != 1 {
		t.Errorf("sums %v, rejected %v", got, d.Rejected())
	}
}
