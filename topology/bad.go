package topology

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"
)

// recentSize is how many records the cap on bad ones looks back (D1).
const recentSize = 1000

// recent knows which of the last records of an input were bad. A plain value:
// it is copied at commits, so that an aborted record is not counted twice.
type recent struct {
	bits [(recentSize + 63) / 64]uint64
	next int // the oldest record's bit
	bad  int
}

func (w *recent) add(bad bool) {
	word, bit := &w.bits[w.next/64], uint64(1)<<(w.next%64)
	if *word&bit != 0 {
		w.bad--
	}
	if bad {
		*word |= bit
		w.bad++
	} else {
		*word &^= bit
	}
	if w.next++; w.next == recentSize {
		w.next = 0
	}
}

func (w *recent) tooMany() bool { return w.bad > recentSize/2 }

// undo drops what the record at hand did.
func (t *Task) undo(m recordMark) error {
	t.outputs, t.headers = t.outputs[:m.outputs], t.headers[:m.headers]
	t.arena.rewind(m.arena)
	t.counters.Out = m.out
	for _, s := range t.stores {
		if err := s.Rollback(); err != nil {
			return err
		}
	}
	return nil
}

// refuse drops what the record at hand did and applies the policy for bad
// records to it.
func (t *Task) refuse(m recordMark) error {
	err := t.undo(m)
	if t.halted {
		return t.failure
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, t.failure)
	}
	in := t.in
	bad := &BadRecord{Topic: t.meta.Topic, Partition: t.meta.Partition, Offset: t.meta.Offset, Stage: t.stage.ID, Err: t.failure}
	if in.OnBadRecord == Fail {
		return bad
	}
	in.recent.add(true)
	if in.recent.tooMany() {
		bad.Err = fmt.Errorf("%w; this one: %w", ErrTooManyBad, bad.Err)
		return bad
	}
	if in.dead >= 0 {
		if err := t.deadLetter(bad); err != nil {
			bad.Err = fmt.Errorf("%w; it cannot become a dead letter: %w", bad.Err, err)
			return bad
		}
		t.counters.DeadLetters++
	} else {
		t.counters.Skipped++
	}
	if t.env.OnBad != nil {
		t.env.OnBad(bad)
	}
	return nil
}

// maxErrorText bounds the text of an error in a dead letter's header.
const maxErrorText = 2000

// deadLetter adds the record at hand, as it is, to the outputs.
func (t *Task) deadLetter(bad *BadRecord) error {
	r := t.record
	n := len(t.headers)
	t.addHeader(HeaderTopic, append(t.arena.begin(), bad.Topic...))
	t.addHeader(HeaderPartition, strconv.AppendInt(t.arena.begin(), int64(bad.Partition), 10))
	t.addHeader(HeaderOffset, strconv.AppendInt(t.arena.begin(), bad.Offset, 10))
	t.addHeader(HeaderError, append(t.arena.begin(), errorText(bad.Err)...))
	if t.in.Source == nil {
		t.addHeader(HeaderStage, append(t.arena.begin(), t.stage.ID...))
	}
	h := t.headers[n:len(t.headers):len(t.headers)]
	size := recordOverhead + len(r.Key) + len(r.Value)
	for i := range h {
		size += len(h[i].Key) + len(h[i].Value)
	}
	if err := t.checkSize(size); err != nil {
		return err
	}
	if t.reached.holds(&t.meta) {
		t.headers = append(t.headers, Header{HeaderGeneration, t.reached.generation})
		h = t.headers[n:len(t.headers):len(t.headers)]
	}
	t.outputs = append(t.outputs, Output{
		Topic: t.in.dead, Partition: -1, Time: t.outTime,
		Key: t.arena.copy(r.Key), Value: t.arena.copy(r.Value), Headers: h,
	})
	return nil
}

func (t *Task) addHeader(key string, value []byte) {
	t.headers = append(t.headers, Header{key, t.arena.end(value)})
}

// errorText is an error as a header holds it: valid UTF-8 of bounded length.
func errorText(err error) string {
	s := err.Error()
	if len(s) > maxErrorText {
		s = s[:maxErrorText]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// kstatePrefix is what functions of the state store start with.
const kstatePrefix = "github.com/procd/procd/kstate."

// recoverPanic makes a panic of the job's own code the record's failure: it
// would come again with the same record for ever. A panic out of the state
// store goes on, since nothing is known of the state then.
func (t *Task) recoverPanic() {
	p := recover()
	if p == nil {
		return
	}
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	where := "unknown place"
	for more, found := true, false; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.HasPrefix(f.Function, kstatePrefix) {
			panic(p)
		}
		if !found && !strings.HasPrefix(f.Function, "runtime.") {
			where, found = fmt.Sprintf("%s (%s:%d)", f.Function, f.File, f.Line), true
		}
	}
	t.fail(fmt.Errorf("%w: %v in %s", ErrPanic, p, where))
}
