package demo

import (
	"reflect"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name  string
		found []int64
		want  Verdict
	}{
		{"all", []int64{1, 2, 3, 2}, Verdict{Expected: 4, Found: 4}},
		{"lost", []int64{1, 3, 2}, Verdict{Expected: 4, Found: 3, Lost: 1}},
		{"doubled", []int64{1, 2, 2, 3, 2}, Verdict{Expected: 4, Found: 5, Doubled: 1}},
		{"never due", []int64{1, 2, 3, 4, 2}, Verdict{Expected: 4, Found: 5, Wrong: 1}},
		{"out of order", []int64{2, 1, 3, 2}, Verdict{Expected: 4, Found: 4, Wrong: 1}},
	} {
		got := judge(map[int][]int64{0: {1, 2, 3, 2}}, map[int][]int64{0: test.found})
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		if got.Right() != (test.name == "all") {
			t.Errorf("%s: Right() = %v", test.name, got.Right())
		}
	}
	if v := judge(map[int][]int64{0: {1}}, map[int][]int64{0: {1}, 7: {5}}); v.Wrong != 1 {
		t.Errorf("an alarm in a room that has none: %+v", v)
	}
}

func TestDowntimeIsJudged(t *testing.T) {
	if within, above := judged(1.99), judged(2.01); !strings.HasPrefix(within, "below") || !strings.Contains(above, "above") {
		t.Errorf("1.99 s: %s; 2.01 s: %s", within, above)
	}
}

// The whole story, by hand.
func TestExpected(t *testing.T) {
	var past []written
	for offset, e := range []event{
		{"activate", 1, 0}, {"motion", 1, 1000}, // version 1 rings
		{"motion", 1, 2000}, {"deactivate", 1, 2500}, {"motion", 1, 2600}, // from here on twice
		{"activate", 1, 3000}, {"motion", 1, 4000}, {"motion", 1, 9000}, // version 2
		{"motion", 1, 10_000}, // after going back
	} {
		past = append(past, written{e, 0, int64(offset)})
	}
	got := expected(past, plot{older: positions{0: 2}, stopped: positions{0: 5}, back: positions{0: 8}})
	want := map[int][]int64{1: {1000, 2000, 9000 /* back */, 9000, 10_000}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := early(past), map[int]map[int64]int64{1: {1000: 1000, 2000: 2000, 4000: 1000}}; !reflect.DeepEqual(got, want) {
		t.Errorf("early: %v, want %v", got, want)
	}
}

// The house raises alarms of both kinds, and not for every motion.
func TestHouse(t *testing.T) {
	h := newHouse(10, 1)
	var past []written
	motions := 0
	for range 1000 {
		e := h.next()
		past = append(past, written{event: e})
		if e.Type == "motion" {
			motions++
		}
	}
	counts := map[string]int{}
	for name, v := range map[string]version{"eager": eager, "patient": patient} {
		m := newModel(past)
		m.pass(nil, nil, v)
		for _, alarms := range m.alarms {
			counts[name] += len(alarms)
		}
	}
	if counts["patient"] < 100 || counts["eager"] < counts["patient"]+100 || motions < counts["eager"]+100 {
		t.Errorf("%v alarms of %d motions", counts, motions)
	}
}
