package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// house makes the events of a number of rooms and knows which alarms they have
// to raise. It is the independent model: procd must find the same.
type house struct {
	rooms    []room
	random   *rand.Rand
	expected map[int][]int64 // room -> times of its alarms, in order
	alarms   int
}

// room is the state of one room's alarm.
type room struct {
	now    int64 // time of its last event, ms
	active bool
	since  int64
}

// event is a record of the source topic.
type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
}

func newHouse(rooms int, seed uint64) *house {
	return &house{
		rooms:    make([]room, rooms),
		random:   rand.New(rand.NewPCG(seed, seed)),
		expected: map[int][]int64{},
	}
}

// next is the next thing that happens in some room.
func (h *house) next() event {
	n := h.random.IntN(len(h.rooms))
	r := &h.rooms[n]
	r.now += 500 + h.random.Int64N(4000)
	e := event{Room: n, Time: r.now}
	switch dice := h.random.IntN(10); {
	case dice < 2:
		e.Type = "activate"
		r.active, r.since = true, r.now
	case dice < 3:
		e.Type = "deactivate"
		r.active, r.since = false, r.now
	default:
		e.Type = "motion"
		if r.active && r.now-r.since > 5000 {
			h.expected[n] = append(h.expected[n], r.now)
			h.alarms++
		}
	}
	return e
}

// Verdict compares what came out with what should have.
type Verdict struct {
	Expected int `json:"expected"` // alarms
	Found    int `json:"found"`
	Lost     int `json:"lost"`
	Doubled  int `json:"doubled"`
	Wrong    int `json:"wrong"` // never to be raised, or not in order
}

// Right reports that nothing is wrong.
func (v Verdict) Right() bool { return v.Lost == 0 && v.Doubled == 0 && v.Wrong == 0 }

// judge compares the alarms found, in the order of each room.
func (h *house) judge(found map[int][]int64) Verdict {
	v := Verdict{Expected: h.alarms}
	for n := range h.rooms {
		v.Found += len(found[n])
		judgeRoom(&v, h.expected[n], found[n])
	}
	return v
}

// judgeRoom counts by time, which is different for each event of a room.
func judgeRoom(v *Verdict, expected, found []int64) {
	due := map[int64]bool{}
	for _, at := range expected {
		due[at] = true
	}
	seen := map[int64]bool{}
	last := int64(-1)
	for _, at := range found {
		switch {
		case !due[at]:
			v.Wrong++
		case seen[at]:
			v.Doubled++
		case at < last:
			v.Wrong++
		}
		seen[at] = true
		last = at
	}
	for _, at := range expected {
		if !seen[at] {
			v.Lost++
		}
	}
}

// alarm reads a record of the output topic.
func alarm(value []byte) (event, error) {
	var e event
	if err := json.Unmarshal(value, &e); err != nil {
		return e, fmt.Errorf("an output that is no JSON: %q: %w", value, err)
	}
	if e.Type != "ALARM" {
		return e, fmt.Errorf("an output that is no alarm: %q", value)
	}
	return e, nil
}
