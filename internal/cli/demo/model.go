package demo

import (
	"maps"
	"slices"
)

// The model: what the two versions of the job have to do, in the plainest way.

// written is an event with its place in the source topic.
type written struct {
	event
	partition int32
	offset    int64 // -1: not acknowledged yet
}

// positions are offsets by partition: those of the next records.
type positions map[int32]int64

// room is the state of one room's alarm.
type room struct {
	active bool
	since  int64
}

// version says whether a motion in an active room rings.
type version func(after int64) bool

// grace is how long version 2 lets people leave, ms.
const grace = 5000

func eager(int64) bool         { return true }
func patient(after int64) bool { return after > grace }

// model is a house as it should be.
type model struct {
	past   []written
	rooms  map[int]room
	alarms map[int][]int64 // by room: times, in order
}

func newModel(past []written) *model {
	return &model{past: past, rooms: map[int]room{}, alarms: map[int][]int64{}}
}

// pass processes the events from one place to another; nil is the beginning,
// and the end.
func (m *model) pass(from, to positions, v version) {
	for _, e := range m.past {
		if e.offset < from[e.partition] || to != nil && e.offset >= to[e.partition] {
			continue
		}
		switch r := m.rooms[e.Room]; {
		case e.Type != "motion":
			m.rooms[e.Room] = room{e.Type == "activate", e.Time}
		case r.active && v(e.Time-r.since):
			m.alarms[e.Room] = append(m.alarms[e.Room], e.Time)
		}
	}
}

// plot is where the story's versions begin and end.
type plot struct {
	older   positions // the savepoint that it goes back to
	stopped positions // the savepoint that version 2 begins with
	back    positions // where version 2 was when it went back
}

// expected are the alarms of the whole story.
func expected(past []written, p plot) map[int][]int64 {
	m := newModel(past)
	m.pass(nil, p.older, eager)
	then := maps.Clone(m.rooms)
	m.pass(p.older, p.stopped, eager)
	m.pass(p.stopped, p.back, patient)
	m.rooms = then
	m.pass(p.older, nil, patient)
	return m.alarms
}

// early are the motions soon after their room was switched on, which only
// version 1 takes for an alarm, each with how soon, ms.
func early(past []written) map[int]map[int64]int64 {
	found := map[int]map[int64]int64{}
	m := newModel(past)
	for _, e := range past {
		m.past = []written{e}
		m.pass(nil, nil, eager)
		if after := e.Time - m.rooms[e.Room].since; e.Type == "motion" && m.rooms[e.Room].active && after <= grace {
			if found[e.Room] == nil {
				found[e.Room] = map[int64]int64{}
			}
			found[e.Room][e.Time] = after
		}
	}
	return found
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
func (v Verdict) Right() bool {
	return v.Expected == v.Found && v.Lost == 0 && v.Doubled == 0 && v.Wrong == 0
}

// judge compares alarms by room and time, in the order of each room.
func judge(expected, found map[int][]int64) (v Verdict) {
	all := maps.Clone(expected)
	maps.Copy(all, found)
	for n := range all {
		v.Expected += len(expected[n])
		v.Found += len(found[n])
		judgeRoom(&v, expected[n], found[n])
	}
	return v
}

func judgeRoom(v *Verdict, expected, found []int64) {
	due := map[int64]int{}
	for _, at := range expected {
		due[at]++
	}
	before := *v
	missing := maps.Clone(due)
	for _, at := range found {
		switch {
		case due[at] == 0:
			v.Wrong++
		case missing[at] == 0:
			v.Doubled++
		default:
			missing[at]--
		}
	}
	for _, n := range missing {
		v.Lost += n
	}
	if *v == before && !slices.Equal(expected, found) {
		v.Wrong++ // the same ones, in another order
	}
}
