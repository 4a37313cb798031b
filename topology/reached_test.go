package topology_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// headers are an output's, as text.
func headers(o topology.Output) string {
	var all []string
	for _, h := range o.Headers {
		if h.Key == topology.HeaderError || h.Key == topology.HeaderOrigin {
			all = append(all, h.Key)
			continue
		}
		all = append(all, fmt.Sprintf("%s=%s", h.Key, h.Value))
	}
	return strings.Join(all, " ")
}

// What an earlier generation has emitted says so when it is emitted again, with
// where it comes from; everything else has no header more than before (P10).
func TestP10OutputsEmittedAgainSaySo(t *testing.T) {
	env := topology.TaskEnv{Generation: 3, Partition: 1, Partitions: 2, MaxRecordBytes: 200, Reached: []kstate.SourceOffset{
		{Topic: "other", Partition: 1, Offset: 100}, {Topic: "in", Partition: 0, Offset: 100}, {Topic: "in", Partition: 1, Offset: 5},
	}}
	policy := topology.OnBadRecord(topology.DeadLetter("dead"))
	task := newTask(t, stepJob(policy, topology.PartitionedWith(topology.Any)), 0, env)
	const again = "procd-generation=3 procd-topic=in procd-partition=1 procd-offset=4"
	for _, test := range []struct {
		offset int64
		time   int64
		value  string
		want   []string
	}{
		{4, clock, "emit:a emit:b", []string{again, again}},
		{5, clock, "emit:a", []string{""}},
		{4, clock + 1, "emit:a", []string{"procd-time=1790000000001 " + again}},
		{5, clock + 1, "emit:a", []string{"procd-time=1790000000001"}},
		{4, clock, "emit:" + strings.Repeat("x", 120), []string{again}}, // the headers do not make it too large
		{4, clock, "emit:a fail", []string{"procd-topic=in procd-partition=1 procd-offset=4 procd-error procd-generation=3"}},
		{5, clock, "emit:a fail", []string{"procd-topic=in procd-partition=1 procd-offset=5 procd-error"}},
	} {
		r := topology.Record{Topic: "in", Partition: 1, Offset: test.offset, Time: test.time, Key: []byte("k"), Value: []byte(test.value)}
		process(t, task, r)
		var got []string
		for _, o := range task.Outputs() {
			got = append(got, headers(o))
		}
		want(t, test.value, got, test.want...)
		task.Take()
		task.Abort()
	}
}

// Behind a KeyBy it is the record's place in the source that counts, and how far
// this task has come, not the one before it.
func TestP10BehindAKeyBy(t *testing.T) {
	job := topology.New("two")
	in := topology.From(job, "in", codec.String())
	by := topology.KeyBy(in, "by", func(s string) string { return s }, codec.String())
	topology.To(topology.Process(by, "step", obey), "out", codec.String())
	first := newTask(t, job, 0, topology.TaskEnv{Generation: 2, Reached: []kstate.SourceOffset{{Topic: "in", Offset: 90}}})
	process(t, first, topology.Record{Topic: "in", Offset: 7, Key: []byte("k"), Value: []byte("emit:a")})
	out := first.Outputs()
	if len(out) != 1 || headers(out[0]) != "procd" {
		t.Fatalf("what goes between stages has headers %q", headers(out[0]))
	}
	second := newTask(t, job, 1, topology.TaskEnv{Generation: 2, Reached: []kstate.SourceOffset{{Topic: "in", Offset: 8}}})
	for _, test := range []struct {
		offset int64
		want   string
	}{
		{9, ""},
		{7, "procd-generation=2 procd-topic=in procd-partition=0 procd-offset=7"}, // later, and still below
		{8, ""},
	} {
		origin := topology.AppendOrigin(nil, clock, "in", 0, test.offset)
		process(t, second, topology.Record{
			Topic: "by", Offset: 1000 - test.offset, Time: clock, Key: []byte("emit:a"), Value: []byte("emit:a"),
			Headers: []topology.Header{{Key: topology.HeaderOrigin, Value: origin}},
		})
		want(t, fmt.Sprint(test.offset), []string{headers(second.Outputs()[0])}, test.want)
		second.Take()
	}
}

// A rewind costs nothing where it is over, and no memory where it is not.
func TestP10ReachedAllocatesNothing(t *testing.T) {
	for _, reached := range []int64{1, 1 << 60} {
		task := newTask(t, allocJob(), 0, topology.TaskEnv{Reached: []kstate.SourceOffset{{Topic: "in", Offset: reached}}})
		r, keys := allocRecord()
		for i := range 5 {
			feed(t, task, r, keys, 2000)
			commit(t, task, int64(i))
		}
		n := testing.AllocsPerRun(20, func() {
			feed(t, task, r, keys, 2000)
			task.Abort()
		})
		if n > 0 {
			t.Errorf("reached %d: %v allocations per 2,000 records", reached, n)
		}
	}
}
