package topology

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/procd/procd/codec"
)

// recent against a plain list, through bursts that fill and empty it.
func TestRecent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w recent
	var list []bool
	for i := range 20_000 {
		bad := rng.IntN(10) < i/2000
		w.add(bad)
		if list = append(list, bad); len(list) > recentSize {
			list = list[1:]
		}
		n := 0
		for _, b := range list {
			if b {
				n++
			}
		}
		if w.bad != n || w.tooMany() != (n > 500) {
			t.Fatalf("record %d: %d bad, tooMany %v; want %d", i, w.bad, w.tooMany(), n)
		}
	}
	for range recentSize {
		w.add(false)
	}
	if w.bad != 0 {
		t.Errorf("%d bad after %d good ones", w.bad, recentSize)
	}
}

// What a bad record had written takes no memory until the commit.
func TestUndoneOutputsTakeNoMemory(t *testing.T) {
	job := New("undo")
	in := From(job, "in", codec.String(), OnBadRecord(Skip))
	words := FlatMap(in, func(c Ctx[None, string], v string) {
		c.Emit(v)
		c.Fail(errors.New("bad"))
	})
	To(words, "out", codec.String())
	KeyBy(words, "by-word", func(v string) string { return v }, codec.String())
	ToStdout(words, codec.String())
	p := newPlan(job)
	task, err := p.NewTask(0, TaskEnv{Partitions: 1, Now: func() int64 { return 5 }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		if err := task.Process(0, &Record{Topic: "in", Offset: int64(i), Key: []byte("k"), Value: []byte("value")}); err != nil {
			t.Fatal(err)
		}
	}
	if len(task.outputs) != 0 || len(task.headers) != 0 || task.arena.used != 0 || task.arena.cur != 0 || task.counters.Out != 0 {
		t.Errorf("%d outputs, %d headers, %+v left", len(task.outputs), len(task.headers), task.arena.mark())
	}
}

func TestErrorText(t *testing.T) {
	long := errorText(errors.New(strings.Repeat("é", maxErrorText)))
	if len(long) > maxErrorText+2 || !utf8.ValidString(long) || !strings.HasPrefix(long, "éé") {
		t.Errorf("%d bytes, valid: %v", len(long), utf8.ValidString(long))
	}
	if got := errorText(errors.New("a\xffb")); got != "a\uFFFDb" {
		t.Errorf("%q", got)
	}
}

// A burst's memory goes back, bit by bit, once it is not needed.
func TestArenaShrinks(t *testing.T) {
	var a arena
	for range 40 {
		a.end(append(a.begin(), make([]byte, chunkSize/2)...))
	}
	most := len(a.chunks)
	for range 2 * most {
		a.reset()
		a.end(append(a.begin(), 1))
	}
	if most < 10 || len(a.chunks) != 1 {
		t.Errorf("%d chunks, then %d", most, len(a.chunks))
	}
}
