package it

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// tolerantYAML is another version of the motion alarm: one motion may be a cat,
// so it takes a second one within ten seconds to ring. Its state has a field
// more.
var tolerantYAML = template.Must(template.New("tolerant").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  format: json
  fields: {type: string, room: int, time: long}
  key: room
  time: {field: time, out-of-order: 5s}
steps:
  - filter: type in ["activate", "deactivate", "motion"]
  - process: arm
    state: {active: bool, since: long, motion: long}
    rules:
      - when: type == "activate"
        set: {active: true, since: time, motion: 0}
      - when: type == "deactivate"
        set: {active: false, since: time, motion: 0}
      - when: "!state.active || time - state.since <= 5000"
      - when: state.motion > 0 && time - state.motion <= ms("10s")
        set: {motion: time}
        emit: {type: "'ALARM'", room, time}
      - set: {motion: time}
output: {topic: {{.Out}}, format: json, key: room}
`))

// room is the state of one room in both versions.
type room struct {
	Active bool  `json:"active"`
	Since  int64 `json:"since"`
	Motion int64 `json:"motion"` // of the second version
}

// version is what one version of the job does with an event of a room.
type version func(r *room, e event) (rings bool)

func eager(r *room, e event) bool {
	switch e.Type {
	case "activate":
		r.Active, r.Since = true, e.Time
	case "deactivate":
		r.Active, r.Since = false, e.Time
	case "motion":
		return r.Active && e.Time-r.Since > ringAfter
	}
	return false
}

// tolerance is how soon the second motion has to come, in milliseconds.
const tolerance = 10_000

func tolerant(r *room, e event) bool {
	switch e.Type {
	case "activate":
		*r = room{Active: true, Since: e.Time}
	case "deactivate":
		*r = room{Active: false, Since: e.Time}
	case "motion":
		if !r.Active || e.Time-r.Since <= ringAfter {
			return false
		}
		before := r.Motion
		r.Motion = e.Time
		return before > 0 && e.Time-before <= tolerance
	}
	return false
}

// makesState says that an event sets a room's state, whatever it was before. A
// motion in a room that was never switched sets none.
func makesState(e event) bool { return e.Type == "activate" || e.Type == "deactivate" }

// history is the model of a job that changes and is rewound: the rooms as they
// are, and all alarms of each so far.
type history struct {
	rooms  map[int]room
	alarms map[int][]event
}

// pass processes the input from offsets on, nil the beginning, up to others, nil
// the end.
func (h *history) pass(input []*kgo.Record, from, to map[partition]int64, see version) error {
	return eachBetween(input, from, to, func(e event) {
		state, had := h.rooms[e.Room]
		before := state
		if see(&state, e) {
			h.alarms[e.Room] = append(h.alarms[e.Room], event{"ALARM", e.Room, e.Time})
		}
		if had || state != before || makesState(e) {
			h.rooms[e.Room] = state
		}
	})
}

// eachBetween goes through the events from offsets on, nil the beginning, up to
// others, nil the end.
func eachBetween(input []*kgo.Record, from, to map[partition]int64, see func(event)) error {
	for _, r := range input {
		p := partition{r.Topic, r.Partition}
		if r.Offset < from[p] || to != nil && r.Offset >= to[p] {
			continue
		}
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		see(e)
	}
	return nil
}

func newHistory() *history { return &history{rooms: map[int]room{}, alarms: map[int][]event{}} }

// taken is a savepoint under test.
type taken struct {
	id      string
	offsets map[partition]int64
	rooms   map[int]room
}

// savepoint runs a command that takes a savepoint, and reads what is in it.
func (j *job) savepoint(command string, flags ...string) taken {
	j.t.Helper()
	if command == "savepoint-and-stop" {
		j.waitArrived()
	}
	stdout, stderr, code := j.command(command, append([]string{j.Name, "--json"}, flags...)...)
	if code != 0 {
		j.t.Fatalf("%s: exit code %d, %s%s", command, code, stdout, stderr)
	}
	var result struct {
		ID    string
		Saved bool
	}
	must(j.t, json.Unmarshal([]byte(stdout), &result))
	return j.inspect(result.ID)
}

// inspect reads a savepoint through the commands.
func (j *job) inspect(id string) taken {
	j.t.Helper()
	s := taken{id: id, offsets: j.savedOffsets(id), rooms: map[int]room{}}
	for line := range strings.Lines(j.output("savepoint-inspect", id, "--store", "arm")) {
		var row struct {
			Key   int
			Value room
		}
		must(j.t, json.Unmarshal([]byte(line), &row))
		s.rooms[row.Key] = row.Value
	}
	return s
}

// savedOffsets are those of a savepoint's sources.
func (j *job) savedOffsets(id string) map[partition]int64 {
	j.t.Helper()
	var manifest struct {
		Tasks []struct {
			Sources []struct {
				Topic     string
				Partition int32
				Offset    int64
			}
		}
	}
	must(j.t, json.Unmarshal([]byte(j.output("savepoint-inspect", id, "--json")), &manifest))
	offsets := map[partition]int64{}
	for _, task := range manifest.Tasks {
		for _, at := range task.Sources {
			offsets[partition{at.Topic, at.Partition}] = at.Offset
		}
	}
	return offsets
}

// output runs a command that must succeed.
func (j *job) output(name string, args ...string) string {
	j.t.Helper()
	stdout, stderr, code := j.command(name, args...)
	if code != 0 {
		j.t.Fatalf("%s %v: exit code %d, %s", name, args, code, stderr)
	}
	return stdout
}

// sameRooms compares a savepoint's rows with the model.
func sameRooms(s taken, want map[int]room) error {
	var errs []error
	for n := range union(s.rooms, want) {
		got, ok := s.rooms[n]
		model, modelled := want[n]
		if got != model || ok != modelled {
			errs = append(errs, fmt.Errorf("savepoint %s, room %d: %+v (%v), want %+v (%v)", s.id, n, got, ok, model, modelled))
		}
	}
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more rooms", len(errs)-5))
	}
	return errors.Join(errs...)
}

// total is the number of alarms of all rooms.
func (h *history) total() (n int) {
	for _, alarms := range h.alarms {
		n += len(alarms)
	}
	return n
}

// TestSavepointPitStop is the story that procd is for: a savepoint under load,
// a stop at another one, the changed job from there, and back to the older one.
func TestSavepointPitStop(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, 300)
	j.produce(g.arm()...)
	feed := j.feed(g, feedRate)
	v1 := j.start()
	j.waitOutput(1000, time.Minute)
	older := j.savepoint("savepoint")
	j.waitOutput(j.out.Count()+1000, time.Minute)
	stopped := j.savepoint("savepoint-and-stop")
	if code := j.ends(v1, 20*time.Second); code != 0 {
		t.Errorf("version 1 ended with %d", code)
	}
	atStop := j.committed()

	j.write(tolerantYAML)
	v2 := j.start("--savepoint", stopped.id)
	j.waitOutput(j.out.Count()+1000, time.Minute)
	must(t, feed.stop())
	j.waitDone(time.Minute)
	input := j.read(j.In)
	last := j.savepoint("savepoint-and-stop")
	if code := j.ends(v2, 20*time.Second); code != 0 {
		t.Errorf("version 2 ended with %d", code)
	}

	h := newHistory()
	must(t, h.pass(input, nil, older.offsets, eager))
	must(t, sameRooms(older, h.rooms))
	beginning := maps.Clone(h.rooms)
	must(t, h.pass(input, older.offsets, stopped.offsets, eager))
	must(t, sameRooms(stopped, h.rooms))
	for p, at := range stopped.offsets {
		if atStop[p] != at {
			t.Errorf("the job stopped at offset %d of partition %d, its savepoint says %d", atStop[p], p.n, at)
		}
	}
	must(t, h.pass(input, stopped.offsets, nil, tolerant))
	must(t, sameAlarms(j.read(j.Out), h.alarms))
	must(t, sameRooms(last, h.rooms))
	t.Logf("%d events, %d alarms up to here", len(input), h.total())

	// Back: everything since the older savepoint rings again, by the new rules.
	v3 := j.start("--savepoint", older.id)
	h.rooms = beginning
	must(t, h.pass(input, older.offsets, nil, tolerant))
	j.eventually(time.Minute, func() error {
		if n, want := j.out.Count(), h.total(); n < want {
			return fmt.Errorf("%d alarms of %d", n, want)
		}
		return nil
	})
	again := j.savepoint("savepoint-and-stop")
	if code := j.ends(v3, 20*time.Second); code != 0 {
		t.Errorf("the older savepoint's job ended with %d", code)
	}
	must(t, sameAlarms(j.read(j.Out), h.alarms))
	must(t, sameRooms(again, h.rooms))
	j.verifySettled()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
