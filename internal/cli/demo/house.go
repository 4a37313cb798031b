package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// house makes the events of a number of rooms.
type house struct {
	clocks []int64 // by room: time of its last event, ms
	random *rand.Rand
}

// event is a record of the source topic; with type ALARM, one of the output.
type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
}

func newHouse(rooms int, seed uint64) *house {
	return &house{clocks: make([]int64, rooms), random: rand.New(rand.NewPCG(seed, seed))}
}

// next is the next thing that happens in some room. Times of a room are all
// different, so that an alarm tells which motion it came from.
func (h *house) next() event {
	n := h.random.IntN(len(h.clocks))
	h.clocks[n] += 500 + h.random.Int64N(4000)
	e := event{Type: "motion", Room: n, Time: h.clocks[n]}
	switch dice := h.random.IntN(10); {
	case dice < 2:
		e.Type = "activate"
	case dice < 3:
		e.Type = "deactivate"
	}
	return e
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
