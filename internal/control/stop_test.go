package control

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/seat"
)

func TestP6StoppedIsDurable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mustBegin(alarmJob("h1"), StartOptions{})
	result, err := b.plane().Stop(b.context())
	if err != nil || result.Already || result.Generation != 1 || result.Run != 1 || len(result.Removed) != 0 {
		t.Fatalf("stop: %+v, %v", result, err)
	}
	var refused *Refused
	if _, err := b.begin(alarmJob("h1"), StartOptions{}); !errors.As(err, &refused) ||
		!strings.Contains(refused.Reason, "was stopped at") || !strings.Contains(refused.Hint, "--resume") {
		t.Errorf("a container's restart: got %v", err)
	}
	if result, err := b.plane().Stop(b.context()); err != nil || !result.Already {
		t.Errorf("second stop: %+v, %v", result, err)
	}
	if l := b.mustBegin(alarmJob("h1"), StartOptions{Resume: true}); l.Run != 2 || l.Generation.Generation != 1 || l.Revision != 0 {
		t.Errorf("resumed as %+v", l)
	}
	if l := b.mustBegin(alarmJob("h1"), StartOptions{}); l.Run != 2 {
		t.Errorf("after the resume a plain start joins run %d", l.Run)
	}
}

// A stop that was asked for in one run must not stop the next.
func TestP6RequestsNameTheirRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.mustBegin(alarmJob("h1"), StartOptions{})
	late := b.plane()
	if err := late.attach(b.context()); err != nil {
		t.Fatal(err)
	}
	asked := late.tail.View().State()
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	second := b.mustBegin(alarmJob("h1"), StartOptions{Resume: true})
	var refused *Refused
	if err := late.tryStop(b.context(), asked); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if err := second.Verify(b.context()); err != nil {
		t.Errorf("run %d was stopped by a request for run %d: %v", second.Run, first.Run, err)
	}
}

func TestStopOfNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.plane().Stop(b.context()); !errors.Is(err, ErrNoJob) {
		t.Errorf("got %v", err)
	}
}

func TestStopRemovesWhoDoesNotLeave(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	const stuck = "procd.alarm.aaaaaaaaaa.0"
	b.member(stuck, l.Protocol()) // alive, and deaf to the control topic
	result, err := b.plane().Stop(b.context())
	if err != nil || !slices.Equal(result.Removed, []string{stuck}) {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestStopTimesOutAndCanBeAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	alive := b.member("procd.alarm.aaaaaaaaaa.0", l.Protocol())
	ctx, cancel := context.WithTimeout(b.context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.plane().Stop(ctx); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrStopped) {
		t.Errorf("not stopped: %v", err)
	}
	alive.Close() // expires
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Error(err)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.mustBegin(alarmJob("h1"), StartOptions{})
	data := t.TempDir()
	s, err := seat.Take(data, testJob)
	if err != nil {
		t.Fatal(err)
	}
	store := s.StoreDir(1, "arm", 0)
	if err := errors.Join(os.MkdirAll(store, 0o755), s.Release()); err != nil {
		t.Fatal(err)
	}
	b.commit("events", 0, 7)

	o := ResetOptions{DataDir: data, DryRun: true}
	plan, err := b.plane().Reset(b.context(), o)
	if err != nil || len(plan.Topics) != 2 || plan.Generation != 1 {
		t.Fatalf("dry run: %+v, %v", plan, err)
	}
	b.checkGenerationTopics(first.Generation)
	if _, err := os.Stat(store); err != nil {
		t.Errorf("the dry run removed state: %v", err)
	}

	o.DryRun = false
	if _, err := b.plane().Reset(b.context(), o); err != nil {
		t.Fatal(err)
	}
	b.checkGenerationTopics(Generation{})
	if _, err := os.Stat(store); !os.IsNotExist(err) {
		t.Errorf("local state is still there: %v", err)
	}
	if groups, err := b.adm.ListGroups(b.context()); err != nil || len(groups) != 0 {
		t.Errorf("groups %v, %v", groups.Groups(), err)
	}
	if _, err := b.plane().Reset(b.context(), o); err != nil {
		t.Errorf("again: %v", err)
	}

	// The changed job needs no compatibility: it is generation 2.
	d := alarmJob("h2")
	d.Stores[0].Schema = `"string"`
	next := b.mustBegin(d, StartOptions{})
	if next.Generation.Generation != 2 || next.Run != 2 || next.Revision != 0 {
		t.Errorf("lease %+v", next)
	}
	b.checkGenerationTopics(next.Generation)
	if keys := b.keys(); keys["generation/1"] != 1 || keys["generation/2"] != 1 {
		t.Errorf("records %v", keys)
	}
}

// commit commits an offset of the job's group.
func (b *bench) commit(topic string, partition int32, offset int64) {
	b.t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, offset, -1)
	if err := b.adm.CommitAllOffsets(b.context(), Group(testJob), offsets); err != nil {
		b.t.Fatal(err)
	}
}

// A machine that the reset did not run on frees its disk when it starts next.
func TestStartRemovesStateOfOlderGenerations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mustBegin(alarmJob("h1"), StartOptions{})
	s := b.seat()
	for g := 1; g <= 2; g++ {
		if err := os.MkdirAll(s.StoreDir(g, "arm", 0), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.plane().Reset(b.context(), ResetOptions{}); err != nil {
		t.Fatal(err)
	}
	l, err := b.plane().begin(b.context(), alarmJob("h1"), s, StartOptions{})
	if err == nil {
		err = l.Tidy()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.StoreDir(1, "arm", 0)); !os.IsNotExist(err) {
		t.Errorf("generation 1 is still there: %v", err)
	}
	if _, err := os.Stat(s.StoreDir(2, "arm", 0)); err != nil {
		t.Errorf("generation 2: %v", err)
	}
}

func TestResetOfARunningJobIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	b.member("procd.alarm.aaaaaaaaaa.0", l.Protocol())
	running := b.transaction("procd.alarm.aaaaaaaaaa.0")
	var refused *Refused
	if _, err := b.plane().Reset(b.context(), ResetOptions{}); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "procd stop alarm") {
		t.Errorf("got %v", err)
	}
	b.checkGenerationTopics(l.Generation)
	if err := l.Verify(b.context()); err != nil {
		t.Error(err)
	}
	if err := running.EndTransaction(b.context(), kgo.TryCommit); err != nil {
		t.Errorf("the running job was fenced: %v", err)
	}
}

// P5: a process that was paused before the reset has a transaction open with
// outputs in it; after reset and start it wakes up.
func TestP5PausedAcrossReset(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	paused := b.transaction("procd.alarm.aaaaaaaaaa.0")
	if _, err := b.plane().Reset(b.context(), ResetOptions{}); err != nil {
		t.Fatal(err)
	}
	b.mustBegin(alarmJob("h1"), StartOptions{})
	if err := paused.ProduceSync(b.context(), recordTo("alarms")).FirstErr(); !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("it could go on producing: %v", err)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrSuperseded) {
		t.Errorf("it may join again: %v", err)
	}
}
