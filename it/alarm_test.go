package it

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// event is a record of the motion alarm: of its input, and of its output.
type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
}

// The texts are written by hand: the model shares no code with the job.
func (e event) key() string { return strconv.Itoa(e.Room) }

func (e event) value() string {
	return fmt.Sprintf(`{"type":%q,"room":%d,"time":%d}`, e.Type, e.Room, e.Time)
}

func (e event) record(topic string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(e.key()), Value: []byte(e.value())}
}

func parseEvent(r *kgo.Record) (event, error) {
	var e event
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return e, fmt.Errorf("%s/%d offset %d: %w: %q", r.Topic, r.Partition, r.Offset, err, r.Value)
	}
	return e, nil
}

// generator makes events of a house, one after the other in time: the same
// for the same seed.
type generator struct {
	rand  *rand.Rand
	rooms int
	time  int64
	// restless makes every other room one that is armed again and again, so that
	// most of its motions come soon after that.
	restless bool
}

func newGenerator(seed uint64, rooms int) *generator {
	return &generator{rand: rand.New(rand.NewPCG(seed, 1)), rooms: rooms}
}

// next makes mostly motions: a room is armed or disarmed often enough that
// about a third of them rings. Times are unique, so that an alarm tells which
// motion it came from.
func (g *generator) next() event {
	g.time += 1 + g.rand.Int64N(2*int64(step/time.Millisecond))
	e := event{Type: "motion", Room: g.rand.IntN(g.rooms), Time: g.time}
	switch n := g.rand.IntN(100); {
	case n < 4:
		e.Type = "activate"
	case n < 7:
		e.Type = "deactivate"
	case n < 10:
		e.Type = "door" // of no interest to the job
	case n < 50 && g.restless && e.Room%2 == 0:
		e.Type = "activate"
	}
	return e
}

// arm makes one event for each room that arms it, so that every room has a
// state.
func (g *generator) arm() []event {
	events := make([]event, g.rooms)
	for room := range events {
		g.time++
		events[room] = event{"activate", room, g.time}
	}
	return events
}

// step is the mean event time between two events of the house.
const step = 20 * time.Millisecond

func (g *generator) events(n int) []event {
	events := make([]event, n)
	for i := range events {
		events[i] = g.next()
	}
	return events
}

// armed is the state of one room.
type armed struct {
	active bool
	since  int64
}

// house is the model of the motion alarm: what the job must do, in the
// plainest way.
type house map[int]armed

// ringAfter is how long a room must have been armed, in milliseconds.
const ringAfter = 5000

// see takes the next event of a room and says whether it rings.
func (h house) see(e event) (alarm event, rings bool) {
	switch room := h[e.Room]; e.Type {
	case "activate":
		h[e.Room] = armed{true, e.Time}
	case "deactivate":
		h[e.Room] = armed{false, e.Time}
	case "motion":
		if room.active && e.Time-room.since > ringAfter {
			return event{"ALARM", e.Room, e.Time}, true
		}
	}
	return event{}, false
}

// partition is a partition of a topic.
type partition struct {
	topic string
	n     int32
}

// replay is what the model makes of the input's records below the given
// offsets, all of them if upTo is nil: the alarms of each room in order, and
// the state of each room.
func replay(input []*kgo.Record, upTo map[partition]int64) (alarms map[int][]event, rooms house, err error) {
	alarms, rooms = map[int][]event{}, house{}
	for _, r := range input {
		if upTo != nil && r.Offset >= upTo[partition{r.Topic, r.Partition}] {
			continue
		}
		e, err := parseEvent(r)
		if err != nil {
			return nil, nil, err
		}
		if alarm, rings := rooms.see(e); rings {
			alarms[e.Room] = append(alarms[e.Room], alarm)
		}
	}
	return alarms, rooms, nil
}
