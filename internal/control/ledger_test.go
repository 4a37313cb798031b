package control

import (
	"errors"
	"testing"
	"time"

	"github.com/procd/procd/savepoint"
)

// savepoint ids, the first that was asked for first
var (
	one = savepoint.NewID(time.Unix(1, 0), [2]byte{1})
	two = savepoint.NewID(time.Unix(0, 0), [2]byte{2}) // smaller, asked later
)

// ledgerView is a view of a running job, with records applied in order.
func ledgerView(t *testing.T, records ...any) *View {
	t.Helper()
	v := &View{}
	put(t, v, State{State: Running, Generation: 1, Run: 1})
	for _, r := range records {
		put(t, v, r)
	}
	return v
}

// put applies a record; a string is the key of a tombstone.
func put(t *testing.T, v *View, record any) {
	t.Helper()
	var list entryList
	switch r := record.(type) {
	case Generation:
		add(&list, generationKey(r.Generation), r)
	case Detached:
		add(&list, detachedKey(r.Generation), r)
	case State:
		add(&list, keyState, r)
	case Request:
		add(&list, requestKey(r.ID), r)
	case Attempt:
		add(&list, attemptKey(r.Request), r)
	case Report:
		add(&list, reportKey(r.Request, r.Worker), r)
	case Result:
		add(&list, resultKey(r.ID), r)
	case string:
		list.remove(r)
	default:
		t.Fatalf("no record %T", r)
	}
	if list.err != nil {
		t.Fatal(list.err)
	}
	if err := v.Apply([]byte(list.entries[0].key), list.entries[0].value); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsQueueInTheOrderOfAsking(t *testing.T) {
	v := ledgerView(t, Request{ID: one, Run: 1, By: "ann"}, Request{ID: two, Run: 1}, Request{ID: one, Run: 1, By: "bob"})
	if q := v.Requests(); len(q) != 2 || q[0].ID != one || q[0].By != "ann" || q[1].ID != two {
		t.Errorf("queue %+v", q)
	}
	put(t, v, Result{Request: Request{ID: one}, Saved: true})
	put(t, v, Request{ID: one, Run: 1}) // written by a command that had not seen the result
	if q := v.Requests(); len(q) != 1 || q[0].ID != two || !v.Saved(one) || v.Saved(two) {
		t.Errorf("queue %+v", q)
	}
	put(t, v, requestKey(two))
	if q := v.Requests(); len(q) != 0 {
		t.Errorf("queue %+v", q)
	}
}

// P14: the highest attempt counts, and of that one the last step, whatever
// arrives later.
func TestP14LateAttemptsChangeNothing(t *testing.T) {
	now := Attempt{Request: one, Attempt: 2, Coordinator: "b", Step: 2, Run: 1, Phase: PhaseCut}
	v := ledgerView(t, Request{ID: one, Run: 1}, Attempt{Request: one, Attempt: 1, Coordinator: "a", Run: 1}, now)
	for name, late := range map[string]Attempt{
		"lower":             {Request: one, Attempt: 1, Coordinator: "a", Step: 9, Run: 1},
		"other coordinator": {Request: one, Attempt: 2, Coordinator: "a", Step: 9, Run: 1},
		"earlier step":      {Request: one, Attempt: 2, Coordinator: "b", Step: 1, Run: 1},
		"same step":         {Request: one, Attempt: 2, Coordinator: "b", Step: 2, Run: 1, Phase: PhasePrepare},
	} {
		put(t, v, late)
		if a, ok := v.Attempt(); !ok || a.Coordinator != "b" || a.Step != 2 || a.Phase != PhaseCut {
			t.Errorf("%s: %+v", name, a)
		}
	}
	put(t, v, Attempt{Request: one, Attempt: 2, Coordinator: "b", Step: 3, Run: 1, Phase: PhaseRelease})
	if a, _ := v.Attempt(); a.Phase != PhaseRelease {
		t.Errorf("next step: %+v", a)
	}
	put(t, v, Result{Request: Request{ID: one, Run: 1}})
	put(t, v, Attempt{Request: one, Attempt: 3, Coordinator: "a", Run: 1})
	put(t, v, Request{ID: one, Run: 1})
	if a, ok := v.Attempt(); ok {
		t.Errorf("after the result: %+v", a)
	}
}

// P6: an attempt means nothing in another run, or while the job stands.
func TestP6AttemptsAreOfARun(t *testing.T) {
	v := ledgerView(t, Request{ID: one, Run: 1}, Attempt{Request: one, Attempt: 1, Run: 1})
	if _, ok := v.Attempt(); !ok {
		t.Error("no attempt")
	}
	put(t, v, State{State: Stopped, Run: 1})
	if _, ok := v.Attempt(); ok {
		t.Error("an attempt of a stopped job")
	}
	put(t, v, State{State: Running, Run: 2})
	if _, ok := v.Attempt(); ok {
		t.Error("an attempt in the next run")
	}
	if err := v.MayClaim(Attempt{Request: one, Attempt: 2, Run: 1}); !errors.Is(err, ErrOvertaken) {
		t.Errorf("claim in the next run: %v", err)
	}
	if err := v.MayAnswer(Result{Request: Request{ID: one}}, 0, ""); err != nil {
		t.Errorf("the answer that the run is over: %v", err)
	}
	if r := v.Settle(Result{Request: Request{ID: one, Run: 1}, Saved: true, Stopped: true}); r.Stopped || r.Reason == "" {
		t.Errorf("stopped by a later run: %+v", r)
	}
}

func TestOneReportPerWorker(t *testing.T) {
	report := func(worker string, attempt int, session string) Report {
		return Report{Request: one, Attempt: attempt, Worker: worker, Session: session}
	}
	v := ledgerView(t, Request{ID: one, Run: 1}, report("w0", 1, "a"), report("w1", 1, "a"), report("w0", 1, "b"))
	before := v.clone()
	if r := v.Reports(one, 1); len(r) != 2 || r[0].Worker != "w1" || r[1].Session != "b" {
		t.Errorf("reports %+v", r)
	}
	put(t, v, report("w1", 2, "c"))
	if r := v.Reports(one, 1); len(r) != 1 || r[0].Worker != "w0" {
		t.Errorf("reports of the first attempt %+v", r)
	}
	put(t, v, reportKey(one, "w0"))
	if r := v.Reports(one, 1); len(r) != 0 {
		t.Errorf("reports %+v", r)
	}
	put(t, v, Result{Request: Request{ID: one}})
	put(t, v, report("w0", 2, "d"))
	if r := v.Reports(one, 2); len(r) != 0 {
		t.Errorf("reports after the result %+v", r)
	}
	if r := before.Reports(one, 1); len(r) != 2 || len(before.Requests()) != 1 {
		t.Errorf("the snapshot changed: %+v", r)
	}
}

// What cannot be read delays a savepoint at worst; but a result says what
// `latest` means.
func TestUnreadableSavepointRecords(t *testing.T) {
	v := ledgerView(t)
	for _, r := range []struct{ key, value string }{
		{requestKey(one), `{"format":2,"id":"` + one + `"}`},
		{requestKey(one), `{"format":1,"id":"other"}`},
		{attemptKey(one), `garbage`},
		{attemptKey(one), `{"format":1,"request":"other"}`},
		{reportKey(one, "w0"), `{"format":1,"request":"` + one + `","worker":"w1"}`},
		{"report/x", `{}`},
		{"other", `{}`},
	} {
		if err := v.Apply([]byte(r.key), []byte(r.value)); err != nil {
			t.Errorf("%s: %v", r.key, err)
		}
	}
	if len(v.Requests()) != 0 || len(v.Reports(one, 0)) != 0 {
		t.Error("something was taken from it")
	}
	if err := v.Apply([]byte(resultKey(one)), []byte(`{"format":2}`)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("result of a newer procd: %v", err)
	}
}

func TestResultsAndTheirEnd(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	v := ledgerView(t,
		Result{Request: Request{ID: two}, Saved: true, Finished: at(2)},
		Result{Request: Request{ID: one}, Reason: "disk full", Finished: at(1)})
	if all := v.Results(); len(all) != 2 || all[0].ID != one || all[1].ID != two {
		t.Errorf("results %+v", all)
	}
	if v.Saved(one) || !v.Saved(two) {
		t.Error("what failed is saved, or the other way round")
	}
	put(t, v, resultKey(two))
	if _, ok := v.Result(two); ok || v.Saved(two) {
		t.Error("a savepoint that was removed counts")
	}
}
