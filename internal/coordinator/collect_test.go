package coordinator

import (
	"slices"
	"strings"
	"testing"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
)

// TestFits: what a task delivers is of one point (P14), and that is not before
// the ends of the repartition topics it reads (P12). Beyond them there can only be
// markers.
func TestFits(t *testing.T) {
	l, err := newLayout([]Stage{{ID: "in", Partitions: 2, Writes: []string{"t"}}, {ID: "by", Partitions: 2, Reads: []string{"t"}, Stores: []string{"one", "two"}}})
	if err != nil {
		t.Fatal(err)
	}
	ends := control.Offsets{"t": {0, 5}}
	at := func(offset int64) []kstate.SourceOffset {
		return []kstate.SourceOffset{{Topic: "t", Partition: 1, Offset: offset}, {Topic: "u", Partition: 1, Offset: 7}}
	}
	for want, change := range map[string]func(d *savepoint.Delivery){
		"":                                       func(*savepoint.Delivery) {},
		"cut at offset 4 of t, before its end 5": func(d *savepoint.Delivery) { *d = delivery(at(4)) },
		"cut at offset 0 of t":                   func(d *savepoint.Delivery) { *d = delivery(at(6)[1:]) },
		"has 2 stores, and copied 1":             func(d *savepoint.Delivery) { d.Parts = d.Parts[:1] },
		"did not copy store two":                 func(d *savepoint.Delivery) { d.Parts[1].UID = "three" },
		"did not copy store one":                 func(d *savepoint.Delivery) { d.Parts[0].Partition = 0 },
		"at another point than its store two was checkpointed": func(d *savepoint.Delivery) { d.Parts[1].Sources = at(7) },
		"at another point than its store one was checkpointed": func(d *savepoint.Delivery) { d.Parts[0].Sources = at(6)[:1] },
	} {
		d := delivery(at(6))
		change(&d)
		if got := fits(l, d, ends); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := fits(l, delivery(at(6)), nil); got == "" {
		t.Error("a task fits although nobody knows the ends of what it reads")
	}
}

// delivery is one of task by/1.
func delivery(at []kstate.SourceOffset) savepoint.Delivery {
	d := savepoint.Delivery{Task: savepoint.Task{Stage: "by", Partition: 1, Sources: at}}
	for _, uid := range []string{"one", "two"} {
		d.Parts = append(d.Parts, savepoint.Part{UID: uid, Partition: 1, Sources: slices.Clone(at)})
	}
	return d
}

// A delivery that does not fit, or is another task's, fails the attempt.
func TestDeliveryIsChecked(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(*savepoint.Delivery){
		"at another point than its store":   func(d *savepoint.Delivery) { d.Task.Sources[0].Offset++ },
		"has 1 stores, and copied 0":        func(d *savepoint.Delivery) { d.Parts = nil },
		"has delivered for task in:events/": func(d *savepoint.Delivery) { d.Task.Stage = "in:events" },
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.coordinate()
			b.work("w0", "s0", 0)
			first := true // of the deliveries for the second stage, only the first attempt's
			b.work("w1", "s1", 1, func(w *worker) {
				w.onDeliver = func(d *savepoint.Delivery) {
					if first && d.Task.Stage == "by:parity" {
						first = false
						change(d)
					}
				}
			})
			p := b.open()
			request, err := p.Request(b.context(), testID, false)
			if err != nil {
				t.Fatal(err)
			}
			v := b.when("the second attempt", func(v *control.View) bool {
				a, ok := v.Attempt()
				return ok && a.Attempt == 2
			})
			if a, _ := v.Attempt(); !strings.Contains(a.Reason, reason) {
				t.Errorf("the first attempt ended by %q", a.Reason)
			}
			r, err := p.WaitResult(b.context(), request, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.check(r)
		})
	}
}
