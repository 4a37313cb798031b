package demo

import "testing"

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name  string
		found []int64
		want  Verdict
	}{
		{"all", []int64{1, 2, 3}, Verdict{Expected: 3, Found: 3}},
		{"lost", []int64{1, 3}, Verdict{Expected: 3, Found: 2, Lost: 1}},
		{"doubled", []int64{1, 2, 2, 3}, Verdict{Expected: 3, Found: 4, Doubled: 1}},
		{"never due", []int64{1, 2, 3, 4}, Verdict{Expected: 3, Found: 4, Wrong: 1}},
		{"out of order", []int64{2, 1, 3}, Verdict{Expected: 3, Found: 3, Wrong: 1}},
	} {
		h := newHouse(1, 1)
		h.expected[0], h.alarms = []int64{1, 2, 3}, 3
		got := h.judge(map[int][]int64{0: test.found})
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		if got.Right() != (test.name == "all") {
			t.Errorf("%s: Right() = %v", test.name, got.Right())
		}
	}
}

// The model raises alarms, and not for every motion.
func TestHouse(t *testing.T) {
	h := newHouse(10, 1)
	motions := 0
	for range 1000 {
		if h.next().Type == "motion" {
			motions++
		}
	}
	if h.alarms == 0 || h.alarms >= motions {
		t.Errorf("%d alarms of %d motions", h.alarms, motions)
	}
}
