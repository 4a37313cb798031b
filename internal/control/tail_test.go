package control

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestTailTellsOfChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	changed := l.Tail().Changed()
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	for l.Check(l.Tail().View()) == nil {
		select {
		case <-changed:
			changed = l.Tail().Changed()
		case <-b.context().Done():
			t.Fatal("the stop was not seen")
		}
	}
}

// A view once taken stays as it is.
func TestTailViewsAreSnapshots(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	before := l.Tail().View()
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if err := l.Check(before); err != nil {
		t.Errorf("the old view says %v", err)
	}
}

// A transaction that is open when the end is read may hold what decides.
func TestTailWaitsForAnOpenTransaction(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	p := b.plane()
	if err := p.attach(b.context()); err != nil {
		t.Fatal(err)
	}
	d, err := p.becomeDecider(b.context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	stop := p.stateEntry(Stopped, p.tail.View().State())[0]
	r := &kgo.Record{Topic: ControlTopic(testJob), Key: []byte(stop.key), Value: stop.value}
	if err := d.cl.ProduceSync(b.context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(b.context(), 200*time.Millisecond)
	defer cancel()
	if err := l.Verify(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("verified before the end was reached: %v", err)
	}
	if err := d.cl.EndTransaction(b.context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
}

// What cannot be understood ends the tail: going on without it could decide
// wrongly.
func TestTailStopsAtANewerFormat(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	r := &kgo.Record{Topic: ControlTopic(testJob), Key: []byte("state"), Value: []byte(`{"format":99}`)}
	if err := b.cl.ProduceSync(b.context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("running: got %v", err)
	}
	if err := l.Tail().Err(); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("tail: got %v", err)
	}
	if _, err := b.begin(alarmJob("h1"), StartOptions{}); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("start: got %v", err)
	}
}
