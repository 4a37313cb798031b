// Motion-alarm is procd's first example, in Go: motion in an armed room rings
// an alarm, five seconds after arming at the earliest.
//
//	go run ./examples/motion-alarm/go start --brokers 127.0.0.1:9092
//
// The same job as YAML is motion-alarm.yaml in the folder above.
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

// Armed is the state of a room whose alarm is on. Rooms that are off have none.
type Armed struct {
	Since int64 // epoch milliseconds
}

// grace is how long after arming people may still move, in milliseconds.
const grace = 5000

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
		c.Set(Armed{Since: e.Time})
	case "deactivate":
		c.Clear()
	case "motion":
		if c.Has() && e.Time-c.State().Since > grace {
			c.Emit(Event{Type: "ALARM", Room: e.Room, Time: e.Time})
		}
	}
}
