package control

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Compaction needs tombstones to get rid of what a savepoint leaves; a view
// passes over it either way.
func TestAnswerCleansUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	p := l.plane
	request, err := p.Request(b.context(), one, true)
	if err != nil {
		t.Fatal(err)
	}
	a := Attempt{Request: one, Attempt: 1, Coordinator: "a", Run: l.Run, Phase: PhaseMuster, Stop: true}
	if err := p.Claim(b.context(), a); err != nil {
		t.Fatal(err)
	}
	for _, worker := range []string{"w0", "w1"} {
		if err := l.Report(b.context(), Report{Request: one, Attempt: 1, Worker: worker}); err != nil {
			t.Fatal(err)
		}
	}
	r := Result{Request: request, Saved: true, Stopped: true, Attempts: 1}
	if _, err := p.Answer(b.context(), r, 1, "a"); err != nil {
		t.Fatal(err)
	}
	last := make(map[string]*kgo.Record)
	for _, r := range b.controlRecords() {
		last[string(r.Key)] = r
	}
	for _, key := range []string{requestKey(one), attemptKey(one), reportKey(one, "w0"), reportKey(one, "w1")} {
		if last[key] == nil || last[key].Value != nil {
			t.Errorf("%s is not removed", key)
		}
	}
	state := last[keyState]
	if state == nil || !strings.Contains(string(state.Value), one) {
		t.Error("the state does not name the savepoint")
	}
	var refused *Refused
	if err := p.Forget(b.context(), one); !errors.As(err, &refused) {
		t.Errorf("forgot the savepoint that the job is stopped at: %v", err)
	}
	b.mustBegin(alarmJob("h1"), StartOptions{Resume: true})
	if err := p.Forget(b.context(), one); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.tail.View().Result(one); ok {
		if err := p.tail.ReadToEnd(b.context()); err != nil {
			t.Fatal(err)
		}
	}
	if p.tail.View().Saved(one) {
		t.Error("what was forgotten counts")
	}
}
