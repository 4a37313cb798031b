package control

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestP2OtherDefinitionIsRefusedWhileOneLives(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	const other = "procd.alarm.aaaaaaaaaa.0"
	b.member(other, l.Protocol())
	began := time.Now()
	_, err := b.begin(alarmJob("h2"), StartOptions{})
	var refused *Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, other) || !strings.Contains(refused.Hint, "procd savepoint-and-stop alarm") {
		t.Errorf("got %v", err)
	}
	if waited := time.Since(began); waited < sessionTimeout+time.Second {
		t.Errorf("refused after %s, before a dead member would have expired", waited)
	}
	// The same definition never waits.
	b.mustBegin(alarmJob("h1"), StartOptions{})
	if keys := b.keys(); keys["revision/1/1"] != 0 {
		t.Errorf("records %v", keys)
	}
}

func TestP2DeadMemberExpires(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	dead := b.member("procd.alarm.aaaaaaaaaa.0", l.Protocol())
	dead.Close() // a static member does not leave
	if g := b.cluster.GroupInfo(Group(testJob)); len(g.Members) != 1 {
		t.Fatalf("the group has %d members", len(g.Members))
	}
	revised := b.mustBegin(alarmJob("h2"), StartOptions{})
	if revised.Revision != 1 || revised.Generation.Generation != 1 || revised.Run != 1 || revised.Protocol() != "procd-g1r1-h2" {
		t.Errorf("lease %+v", revised)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the old definition may run on: %v", err)
	}
}

// The process that died sat on the seat that the new one has locked: nobody
// has to be waited for.
func TestP2OwnPastIsRemovedAtOnce(t *testing.T) {
	t.Parallel()
	for name, hash := range map[string]string{"revision": "h2", "join": "h1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := b.seat()
			b.mustBeginOn(s, alarmJob("h1"))
			past := b.member(s.InstanceID(0), "procd-g1r0-older")
			past.Close()
			p := b.plane(func(s *Settings) { s.SessionTimeout = time.Hour }) // waiting would fail the test
			if _, err := p.begin(b.context(), alarmJob(hash), s, StartOptions{}); err != nil {
				t.Fatal(err)
			}
			if g := b.cluster.GroupInfo(Group(testJob)); len(g.Members) != 0 {
				t.Errorf("the group still has %d members", len(g.Members))
			}
		})
	}
}

// A restart of the same definition keeps its place in the group: that is what
// gives it its tasks back at once.
func TestP2RestartKeepsItsMembership(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	s := b.seat()
	b.member(s.InstanceID(0), l.Protocol()).Close()
	if _, err := b.plane().begin(b.context(), alarmJob("h1"), s, StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if g := b.cluster.GroupInfo(Group(testJob)); len(g.Members) != 1 {
		t.Errorf("the group has %d members", len(g.Members))
	}
}

// LeaveGroup answers per instance.
func TestP2MemberThatCannotBeRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.seat()
	b.mustBeginOn(s, alarmJob("h1"))
	b.member(s.InstanceID(0), "procd-g1r0-older").Close()
	b.cluster.ControlKey(int16(kmsg.LeaveGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		member := kmsg.NewLeaveGroupResponseMember()
		member.InstanceID = req.(*kmsg.LeaveGroupRequest).Members[0].InstanceID
		member.ErrorCode = kerr.GroupAuthorizationFailed.Code
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.Members = append(resp.Members, member)
		return resp, nil, true
	})
	if _, err := b.plane().begin(b.context(), alarmJob("h2"), s, StartOptions{}); err == nil || !strings.Contains(err.Error(), s.InstanceID(0)) {
		t.Errorf("got %v", err)
	}
}

func TestP2Verify(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	if err := l.Verify(b.context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(b.context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after a stop: %v", err)
	}
	second := b.mustBegin(alarmJob("h1"), StartOptions{Resume: true})
	if err := l.Verify(b.context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after a stop and a resume it slept through: %v", err)
	}
	if err := second.Verify(b.context()); err != nil {
		t.Errorf("the resumed run: %v", err)
	}
	if _, err := b.plane().Reset(b.context(), ResetOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := second.Verify(b.context()); !errors.Is(err, ErrSuperseded) {
		t.Errorf("after a reset: %v", err)
	}
	b.mustBegin(alarmJob("h1"), StartOptions{})
	if err := second.Verify(b.context()); !errors.Is(err, ErrSuperseded) {
		t.Errorf("after a reset and a start: %v", err)
	}
}

// The end that readers of committed records see lags behind the commit that
// was acknowledged: Verify must not be content with what has arrived.
func TestP2VerifyReadsToTheEndAsOfNow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	for run := 2; run < 12; run++ {
		if _, err := b.plane().Stop(b.context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(b.context()); !errors.Is(err, ErrStopped) {
			t.Fatalf("run %d: %v", run, err)
		}
		l = b.mustBegin(alarmJob("h1"), StartOptions{Resume: true})
		if l.Run != run {
			t.Fatalf("run %d, want %d", l.Run, run)
		}
	}
}

// Between the record of a start and the first member of its group another
// definition is not let in: a container of the version before, restarted just
// then, would take the job from the next one.
func TestP2StarterCountsBeforeItJoins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	waits := make(chan string, 1)
	other := b.plane(func(s *Settings) {
		s.SessionTimeout = time.Minute
		s.Logger = slog.New(slog.NewTextHandler(lineWriter(func(line string) {
			if strings.Contains(line, "waiting for") {
				waits <- line
			}
		}), nil))
	})
	ctx, cancel := context.WithCancel(b.context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := other.begin(ctx, alarmJob("h2"), b.seat(), StartOptions{})
		ended <- err
	}()
	select {
	case line := <-waits:
		if name := strings.TrimSuffix(l.seat.InstancePrefix(), "."); !strings.Contains(line, name) {
			t.Errorf("%s does not name %s", line, name)
		}
	case err := <-ended:
		t.Fatalf("another definition did not wait: %v", err)
	}
	cancel()
	<-ended
	if keys := b.keys(); keys["revision/1/1"] != 0 {
		t.Errorf("records %v", keys)
	}
}

// lineWriter calls a function with each line of a log.
type lineWriter func(line string)

func (f lineWriter) Write(line []byte) (int, error) {
	f(string(line))
	return len(line), nil
}
