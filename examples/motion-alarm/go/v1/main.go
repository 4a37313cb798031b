// The motion alarm, version 1: motion in a room whose alarm is on rings.
//
//	go run ./examples/motion-alarm/go/v1 start
//
// It is the same job as motion-alarm-v1.yaml two folders above, with the same
// state: a savepoint of one is a beginning for the other.
package main

import (
	"time"

	"github.com/procd/procd"
	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

// Event is what the sensors report, and what an alarm looks like.
type Event struct {
	Type string `json:"type"` // activate, deactivate or motion; ALARM
	Room int    `json:"room"`
	Time int64  `json:"time"` // epoch milliseconds
}

// Armed is the state of a room.
type Armed struct {
	Active bool  `avro:"active,omitzero"`
	Since  int64 `avro:"since,omitzero"` // epoch milliseconds
}

func main() { procd.Main(job()) }

func job() *topology.Job {
	job := topology.New("motion-alarm")
	events := topology.From(job, "alarm-events", codec.JSON[Event](),
		topology.PartitionedBy(func(e Event) int { return e.Room }),
		topology.EventTime(func(e Event) int64 { return e.Time }, 5*time.Second))
	alarms := topology.Process(events, "arm", arm)
	topology.To(alarms, "alarms", codec.JSON[Event]())
	return job
}

// arm sees the events of one room at a time, in order.
func arm(c topology.Ctx[Armed, Event], e Event) {
	switch e.Type {
	case "activate":
		c.Set(Armed{true, e.Time})
	case "deactivate":
		c.Set(Armed{false, e.Time})
	case "motion":
		if c.State().Active {
			c.Emit(Event{Type: "ALARM", Room: e.Room, Time: e.Time})
		}
	}
}
