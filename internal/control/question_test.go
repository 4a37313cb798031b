package control

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const testSeat = "procd.alarm.aaaaaaaaaa.0"

// inquired is a view after records that were written by hand: pairs of a key
// and a value, "" for a tombstone.
func inquired(t *testing.T, records ...string) *View {
	t.Helper()
	v := &View{}
	for i := 0; i < len(records); i += 2 {
		value := []byte(records[i+1])
		if records[i+1] == "" {
			value = nil
		}
		if err := v.Apply([]byte(records[i]), value); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func TestInquiries(t *testing.T) {
	v := inquired(t,
		"question/a", `{"format":1,"id":"a","store":"arm","key":"Nw=="}`,
		"question/b", `{"format":1,"id":"b"}`,
		"question/c", `{"format":1,"id":"another"}`,
		"question/d", `nonsense`,
		"question/e", `{"format":2,"id":"e"}`,
		"question/b", "",
		"answer/a/1", `{"format":1,"question":"a","partition":1,"of":2,"worker":"x"}`,
		"answer/a/1", `{"format":1,"question":"a","partition":1,"of":2,"worker":"y"}`,
		"answer/a/0", `{"format":1,"question":"a","partition":1,"of":2}`,
		"answer/a/x", `{"format":1,"question":"a","of":2}`,
		"answer/a", `{"format":1,"question":"a","of":2}`,
	)
	if q := v.Questions(); len(q) != 1 || q[0].ID != "a" || string(q[0].Key) != "7" {
		t.Errorf("questions %+v", q)
	}
	if answers, complete := v.Answers("a"); complete || len(answers) != 1 || answers[0].Worker != "y" {
		t.Errorf("half of the answers: %+v, %v", answers, complete)
	}
	before := v.clone()
	if err := v.Apply([]byte("answer/a/0"), []byte(`{"format":1,"question":"a","of":2}`)); err != nil {
		t.Fatal(err)
	}
	if answers, complete := v.Answers("a"); !complete || len(answers) != 2 || answers[0].Partition != 0 {
		t.Errorf("all answers: %+v, %v", answers, complete)
	}
	if answers, _ := before.Answers("a"); len(answers) != 1 {
		t.Error("a view that was handed out changed")
	}
	if keys := v.recordsOf("a"); !slices.Equal(keys, []string{"question/a", "answer/a/1", "answer/a/0"}) {
		t.Errorf("records %v", keys)
	}
	for _, key := range v.recordsOf("a") {
		if err := v.Apply([]byte(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	if answers, _ := v.Answers("a"); len(v.Questions()) != 0 || len(answers) != 0 || len(v.inquiries.answers) != 0 {
		t.Errorf("withdrawn: %+v", v.inquiries)
	}
}

// An answer in pieces is one only when all are there.
func TestAnswerInPieces(t *testing.T) {
	v := inquired(t, "question/a", `{"format":1,"id":"a"}`)
	for _, r := range []struct{ key, value, want string }{
		{"answer/a/3/1", `{"format":1,"question":"a","partition":3,"part":1,"data":"Yg=="}`, ""},
		{"answer/a/3/2", `{"format":1,"question":"a","partition":3,"part":1,"data":"eA=="}`, ""}, // of another key
		{"answer/a/3", `{"format":1,"question":"a","partition":3,"of":1,"version":1,"data":"YQ==","more":2}`, ""},
		{"answer/a/3/2", `{"format":1,"question":"a","partition":3,"part":2,"data":"Yw=="}`, "abc"},
		{"answer/a/3/1", "", ""},
	} {
		if err := v.Apply([]byte(r.key), []byte(r.value)); err != nil {
			t.Fatal(err)
		}
		answers, complete := v.Answers("a")
		if complete != (r.want != "") || complete && string(answers[0].Data) != r.want {
			t.Errorf("after %s: %v, %+v", r.key, complete, answers)
		}
	}
	for _, key := range v.recordsOf("a") {
		if err := v.Apply([]byte(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(v.inquiries.answers)+len(v.inquiries.parts) != 0 {
		t.Errorf("withdrawn: %+v", v.inquiries)
	}
}

// What an asker left behind goes, by the clock of who removes it, and nothing
// that may still be waited for.
func TestLeftovers(t *testing.T) {
	v := inquired(t,
		"question/long", `{"format":1,"id":"long","patience_ms":600000,"at":"2001-01-01T00:00:00Z"}`,
		"question/short", `{"format":1,"id":"short","patience_ms":1000}`,
		"answer/late/0", `{"format":1,"question":"late","of":1}`,
		"answer/later/0/1", `{"format":1,"question":"later","part":1}`,
	)
	l, start := &Leftovers{}, time.Unix(0, 0)
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{0, nil},
		{59 * time.Second, nil},
		{60 * time.Second, []string{"late", "later"}},
		{61 * time.Second, []string{"late", "later", "short"}},
		{11 * time.Minute, []string{"late", "later", "long", "short"}},
	} {
		if got := l.Find(v, start.Add(c.after)); !slices.Equal(got, c.want) {
			t.Errorf("after %s: %v, want %v", c.after, got, c.want)
		}
	}
	if l.Find(&View{}, start.Add(time.Hour)); len(l.seen) != 0 {
		t.Errorf("withdrawn ones are kept: %v", l.seen)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asker := b.plane()
	if _, err := asker.Ask(b.context(), "arm", []byte("7")); !errors.Is(err, ErrNoJob) {
		t.Errorf("a job that never was: %v", err)
	}
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	if _, err := asker.Ask(b.context(), "arm", []byte("7")); !refusedWith(err, "no process") {
		t.Errorf("a job without a process: %v", err)
	}
	b.member(testSeat, l.Protocol())

	go func() { // what a worker does
		for {
			changed := l.Tail().Changed()
			for _, q := range l.Tail().View().Questions() {
				if _, answered := l.Tail().View().Answers(q.ID); !answered {
					_ = l.Answer(b.context(), Answer{Question: q.ID, Of: 1, Partition: 3, Worker: testSeat, Version: 1, Data: q.Key})
				}
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				return
			}
			if l.Tail().Err() != nil {
				return
			}
		}
	}()
	answers, err := asker.Ask(b.context(), "arm", []byte("7"))
	if err != nil || len(answers) != 1 || answers[0].Partition != 3 || string(answers[0].Data) != "7" || answers[0].At.IsZero() {
		t.Fatalf("%+v, %v", answers, err)
	}
	b.nothingAsked()

	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	if _, err := asker.Ask(b.context(), "arm", []byte("7")); !refusedWith(err, "does not run") {
		t.Errorf("a stopped job: %v", err)
	}
	b.nothingAsked()
}

// Nobody answers, and then the run ends: the asker says which, and leaves
// nothing behind.
func TestAskInVain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	member := b.member(testSeat, l.Protocol())
	ctx, cancel := context.WithTimeout(b.context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.plane().Ask(ctx, "arm", nil); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("no answer: %v", err)
	}
	b.nothingAsked()
	asked := make(chan error, 1)
	go func() {
		_, err := b.plane().Ask(b.context(), "arm", nil)
		asked <- err
	}()
	for len(l.Tail().View().Questions()) == 0 {
		changed := l.Tail().Changed()
		if len(l.Tail().View().Questions()) == 0 {
			<-changed
		}
	}
	member.Close() // as a static member it expires
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; !refusedWith(err, "run 1 of alarm, which was asked, ended") {
		t.Errorf("the run ended: %v", err)
	}
	b.nothingAsked()
}

func refusedWith(err error, text string) bool {
	refused := (*Refused)(nil)
	return errors.As(err, &refused) && strings.Contains(refused.Reason, text)
}

// nothingAsked wants no question and no answer in the topic, once compacted.
func (b *bench) nothingAsked() {
	b.t.Helper()
	v := &View{}
	for _, r := range b.controlRecords() {
		if err := v.Apply(r.Key, r.Value); err != nil {
			b.t.Fatal(err)
		}
	}
	if len(v.inquiries.questions) > 0 || len(v.inquiries.answers) > 0 {
		b.t.Errorf("left in the topic: %+v", v.inquiries)
	}
}
