package main

import (
	"fmt"
	"time"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

// event is an event of the motion alarm, and an alarm. What else is in the
// JSON is not looked at.
type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
}

type armed struct {
	Active bool  `avro:"active"`
	Since  int64 `avro:"since"`
}

// exitDelay is how long after it is switched on an alarm does not ring yet, in
// milliseconds.
const exitDelay = 5000

func alarmJob(name, in, out string) *topology.Job {
	job := topology.New(name)
	events := topology.From[event](job, in, codec.JSON[event](), topology.PartitionedBy(func(e event) int { return e.Room }))
	rings := topology.Process(events, "arm", func(c topology.Ctx[armed, event], e event) {
		switch e.Type {
		case "activate":
			c.Set(armed{true, e.Time})
		case "deactivate":
			c.Set(armed{false, e.Time})
		case "motion":
			if s := c.State(); s.Active && e.Time-s.Since > exitDelay {
				c.Emit(event{Type: "ALARM", Room: e.Room, Time: e.Time})
			}
		}
	})
	topology.To(rings, out, codec.JSON[event]())
	return job
}

// alarmYAML is the same job as a file.
func alarmYAML(name, in, out string) string {
	return fmt.Sprintf(`job: %s
input:
  topic: %s
  format: json
  fields: {type: string, room: int, time: long}
  key: room
steps:
  - filter: type in ["activate", "deactivate", "motion"]
  - process: arm
    state: {active: bool, since: long}
    rules:
      - when: type == "activate"
        set: {active: true, since: time}
      - when: type == "deactivate"
        set: {active: false, since: time}
      - when: type == "motion" && state.active && time - state.since > %d
        emit: {type: "'ALARM'", room, time}
output: {topic: %s, format: json, key: room}
`, name, in, exitDelay, out)
}

func copyJob(name, in, out string) *topology.Job {
	job := topology.New(name)
	topology.To(topology.From[[]byte](job, in, codec.Bytes()), out, codec.Bytes())
	return job
}

// countJob counts records per key and emits every update.
func countJob(name, in, out string) *topology.Job { return countingJob(name, in, out, count) }

// countingJob emits what count does with each value, whatever its state is.
func countingJob[S any](name, in, out string, count func(topology.Ctx[S, int64], []byte)) *topology.Job {
	job := topology.New(name)
	topology.To(topology.Process(topology.From[[]byte](job, in, codec.Bytes()), "counts", count), out, codec.Int64())
	return job
}

func count(c topology.Ctx[int64, int64], _ []byte) {
	n := c.State() + 1
	c.Set(n)
	c.Emit(n)
}

// twoStagesJob counts records per user, whom the values name.
func twoStagesJob(name, in, out string) *topology.Job {
	job := topology.New(name)
	records := topology.From[[]byte](job, in, codec.Bytes())
	byUser := topology.KeyBy(records, "by-user", func(v []byte) []byte { return v[:userLen] }, codec.Bytes())
	topology.To(topology.Process(byUser, "counts", count), out, codec.Int64())
	return job
}

// countYAML is the count as a file, with commits every so often.
func countYAML(commit time.Duration) func(name, in, out string) string {
	return func(name, in, out string) string {
		return fmt.Sprintf(`job: %s
guarantees: {commit: %v}
input: {topic: %s, format: bytes}
steps:
  - process: counts
    state: {n: long}
    rules:
      - set: {n: state.n + 1}
        emit: {n: state.n}
output: {topic: %s, format: json}
`, name, commit, in, out)
	}
}
