package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// asker is a plane of somebody who does not run the job.
func (r *rig) asker() *control.Plane {
	r.t.Helper()
	p, err := control.Open(r.t.Context(), control.Settings{Cluster: cluster.Config{Brokers: r.brokers}, Job: r.name, By: "ann@host"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	return p
}

// ask asks for the total of a key; has is false if it has none.
func (r *rig) ask(p *control.Plane, key string) (sum int64, has bool, a control.Answer) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	answers, err := p.Ask(ctx, "sums", []byte(key))
	if err != nil || len(answers) != 1 {
		r.t.Fatalf("asking for %s: %+v, %v", key, answers, err)
	}
	sum, has = r.decoded(p, answers[0])
	return sum, has, answers[0]
}

func (r *rig) decoded(p *control.Plane, a control.Answer) (sum int64, has bool) {
	r.t.Helper()
	if a.Version == 0 {
		return 0, false
	}
	view, err := p.View(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	current, _ := view.Current()
	decode, err := savepoint.NewDecoder("sums", "string", map[int]string{1: current.Stores[0].Versions[0]})
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := decode.AppendValue(nil, savepoint.Row{Version: a.Version, Data: a.Data})
	if err != nil {
		r.t.Fatal(err)
	}
	var t struct{ Sum int64 }
	if err := json.Unmarshal(text, &t); err != nil {
		r.t.Fatal(err)
	}
	return t.Sum, true
}

// sumAt is the model: the total of a key when its task has come to the offsets.
func (r *rig) sumAt(key string, at []kstate.SourceOffset, records int) (sum int64, has bool) {
	r.t.Helper()
	for _, rec := range r.readAll(r.name+"-in", records) {
		if rec.Partition != at[0].Partition || rec.Offset >= at[0].Offset || string(rec.Key) != key {
			continue
		}
		var e event
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			r.t.Fatal(err)
		}
		sum, has = sum+e.N, true
	}
	return sum, has
}

// What is told of a key while the job works is its state at the offsets that are
// told with it.
func TestAnswersUnderLoad(t *testing.T) {
	r := newRig(t, sums(unique("answers"), false))
	run := r.start(t.TempDir())
	asker := r.asker()
	type told struct {
		key string
		sum int64
		has bool
		at  []kstate.SourceOffset
	}
	var all []told
	for i := range 20 {
		r.send(500)
		key := "k" + strconv.Itoa(i%19) // two of them never come
		sum, has, a := r.ask(asker, key)
		if !slices.Contains([]string{run.e.p.cfg.Seat.InstanceID(0), run.e.p.cfg.Seat.InstanceID(1)}, a.Worker) {
			t.Errorf("worker %q", a.Worker)
		}
		all = append(all, told{key, sum, has, a.Sources})
	}
	behind := 0
	for _, got := range all {
		sum, has := r.sumAt(got.key, got.at, 10_000)
		if got.sum != sum || got.has != has {
			t.Errorf("%s at %v: %d (%v), want %d (%v)", got.key, got.at, got.sum, got.has, sum, has)
		}
		if got.has && got.sum != r.sum[got.key] {
			behind++
		}
	}
	if behind == 0 {
		t.Error("every answer came when all was done: this proves nothing")
	}
	r.wantExact()
	for key, sum := range r.sum {
		if got, _, _ := r.ask(asker, key); got != sum {
			t.Errorf("%s at the end: %d, want %d", key, got, sum)
		}
	}
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}

// A store of a later stage is asked by the key of that stage, and so is one that
// was restored.
func TestAnswersOfALaterStage(t *testing.T) {
	r := newRig(t, sums(unique("answers-by"), true))
	dir := t.TempDir()
	run := r.start(dir)
	r.send(1000)
	r.wantExact()
	if err := r.end(run); err != nil {
		t.Fatal(err)
	}
	run = r.start(dir)
	asker := r.asker()
	for key, sum := range r.sum {
		if got, _, _ := r.ask(asker, key); got != sum {
			t.Errorf("%s: %d, want %d", key, got, sum)
		}
	}
	if _, has, _ := r.ask(asker, "nobody"); has {
		t.Error("a key that never came has state")
	}
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}

// Where any partition may have any key, all of them answer (P24).
func TestP24AnswersOfAllPartitions(t *testing.T) {
	job := topology.New(unique("answers-any"))
	events := topology.From[event](job, job.Name()+"-in", codec.JSON[event](), topology.PartitionedWith(topology.Any))
	out := topology.Reduce(topology.Map(events, func(e event) total { return total{e.N} }), "sums", func(a, b total) total { return total{a.Sum + b.Sum} })
	topology.To(out, job.Name()+"-out", codec.JSON[total]())
	r := newRig(t, job)
	run := r.start(t.TempDir())
	for p := range int32(3) {
		for range 2 {
			rec := &kgo.Record{Topic: r.name + "-in", Partition: p, Key: []byte("a"), Value: fmt.Appendf(nil, `{"key":"a","n":%d}`, p+1)}
			if err := r.manual().ProduceSync(t.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.readAll(r.name+"-out", 6)
	asker := r.asker()
	answers, err := asker.Ask(t.Context(), "sums", []byte("a"))
	if err != nil || len(answers) != 4 {
		t.Fatalf("%+v, %v", answers, err)
	}
	for i, want := range []int64{2, 4, 6, 0} {
		if sum, has := r.decoded(asker, answers[i]); sum != want || has != (want > 0) || answers[i].Partition != int32(i) {
			t.Errorf("partition %d: %d, %v", i, sum, has)
		}
	}
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}

// manual is a client that chooses partitions itself.
func (r *rig) manual() *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return cl
}

// A state is told that is larger, as text, than a record of the control topic may
// be.
func TestAnswerLarge(t *testing.T) {
	type text struct {
		Text string `avro:"text"`
	}
	job := topology.New(unique("answers-large"))
	events := topology.From[string](job, job.Name()+"-in", codec.String())
	out := topology.Reduce(topology.Map(events, func(s string) text { return text{s} }), "sums", func(a, b text) text { return text{a.Text + b.Text} })
	topology.To(topology.Map(out, func(text) string { return "done" }), job.Name()+"-out", codec.String())
	r := newRig(t, job)
	run := r.start(t.TempDir())
	for range 3 {
		rec := &kgo.Record{Topic: r.name + "-in", Key: []byte("a"), Value: bytes.Repeat([]byte{'x'}, 300_000)}
		if err := r.cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.readAll(r.name+"-out", 3)
	answers, err := r.asker().Ask(t.Context(), "sums", []byte("a"))
	if err != nil || len(answers) != 1 || bytes.Count(answers[0].Data, []byte{'x'}) != 900_000 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}

// The question of an asker that was killed is removed by the job, and the
// answers with it.
func TestLeftoversAreRemoved(t *testing.T) {
	r := newRig(t, sums(unique("answers-left"), false))
	run := r.start(t.TempDir())
	// Patience of less than nothing: its time is up.
	value := fmt.Appendf(nil, `{"format":1,"id":"x","generation":1,"run":1,"store":"sums","key":"YQ==","patience_ms":%d}`, -time.Hour.Milliseconds())
	rec := &kgo.Record{Topic: control.ControlTopic(r.name), Key: []byte("question/x"), Value: value}
	if err := r.manual().ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	tail := run.e.p.cfg.Lease.Tail()
	wait := func(what string, until func(*control.View) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New(what))
		defer cancel()
		for {
			changed := tail.Changed()
			if until(tail.View()) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatal(context.Cause(ctx))
			}
		}
	}
	wait("no answer", func(v *control.View) bool { _, ok := v.Answers("x"); return ok })
	wait("the question is still there", func(v *control.View) bool {
		answers, _ := v.Answers("x")
		return len(v.Questions()) == 0 && len(answers) == 0
	})
	if err := r.end(run); err != nil {
		t.Error(err)
	}
}
