package topology_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
}

type armed struct {
	Active bool
	Since  int64
}

func room(e event) int { return e.Room }

func when(e event) int64 { return e.Time }

// alarm is the first example: motion in an armed room rings five seconds after
// arming.
func alarm(c topology.Ctx[armed, event], e event) {
	switch s := c.State(); {
	case e.Type == "activate":
		c.Set(armed{Active: true, Since: e.Time})
	case e.Type == "deactivate":
		c.Clear()
	case s.Active && e.Time-s.Since > 5000:
		c.Emit(event{Type: "ALARM", Room: e.Room, Time: e.Time})
	}
}

func alarmJob(opts ...topology.SourceOption) *topology.Job {
	job := topology.New("motion-alarm")
	opts = append(opts, topology.PartitionedBy(room), topology.EventTime(when, 5*time.Second))
	events := topology.From(job, "alarm-events", codec.JSON[event](), opts...)
	alarms := topology.Process(events, "arm", alarm)
	topology.To(alarms, "alarms", codec.JSON[event]())
	return job
}

func newDriver(t *testing.T, job *topology.Job, opts ...topology.DriverOption) *topology.Driver {
	t.Helper()
	d, err := topology.NewDriver(job, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func send(t *testing.T, d *topology.Driver, topic, key, value string) {
	t.Helper()
	if err := d.Send(topic, []byte(key), []byte(value), -1); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
}

// values are the values of a topic's records, as text.
func values(d *topology.Driver, topic string) []string {
	var out []string
	for _, r := range d.Outputs(topic) {
		out = append(out, string(r.Value))
	}
	return out
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestAlarm(t *testing.T) {
	d := newDriver(t, alarmJob())
	send(t, d, "alarm-events", "1", `{"type":"motion","room":1,"time":0}`)
	send(t, d, "alarm-events", "1", `{"type":"activate","room":1,"time":0}`)
	send(t, d, "alarm-events", "1", `{"type":"motion","room":1,"time":5000}`)
	send(t, d, "alarm-events", "2", `{"type":"motion","room":2,"time":6000}`)
	want(t, "before five seconds", values(d, "alarms"))
	send(t, d, "alarm-events", "1", `{"type":"motion","room":1,"time":5001}`)
	want(t, "after them", values(d, "alarms"), `{"type":"ALARM","room":1,"time":5001}`)
	if r := d.Outputs("alarms")[0]; string(r.Key) != "1" || r.Time != d.Now() || string(r.Header(topology.HeaderTime)) != "5001" {
		t.Errorf("alarm with key %q, time %d, headers %q", r.Key, r.Time, r.Headers)
	}
	states, err := topology.StateOf[armed](d, "arm")
	if err != nil || len(states) != 1 || states["1"] != (armed{true, 0}) {
		t.Errorf("states %v, %v", states, err)
	}
	send(t, d, "alarm-events", "1", `{"type":"deactivate","room":1,"time":7000}`)
	send(t, d, "alarm-events", "1", `{"type":"motion","room":1,"time":70000}`)
	want(t, "after deactivating", values(d, "alarms"), `{"type":"ALARM","room":1,"time":5001}`)
	if states, err = topology.StateOf[armed](d, "arm"); err != nil || len(states) != 0 {
		t.Errorf("Clear left %v, %v", states, err)
	}
}

// The model is written differently on purpose: per room, over its whole history.
func modelAlarms(history []event) []string {
	var out []string
	on := int64(-1)
	for _, e := range history {
		if e.Type == "activate" {
			on = e.Time
		}
		if e.Type == "deactivate" {
			on = -1
		}
		if e.Type == "motion" && on >= 0 && on+5000 < e.Time {
			out = append(out, fmt.Sprintf(`{"type":"ALARM","room":%d,"time":%d}`, e.Room, e.Time))
		}
	}
	return out
}

func TestAlarmAgainstModel(t *testing.T) {
	const rooms, events = 50, 20_000
	rng := rand.New(rand.NewPCG(1, 1))
	d := newDriver(t, alarmJob(topology.OnBadRecord(topology.Skip)), topology.Partitions(4), topology.ManualCommit())
	history := make([][]event, rooms)
	var open []event // sent since the last commit
	now := int64(0)
	settle := func() {
		if rng.IntN(4) == 0 {
			d.Abort()
			for _, e := range open {
				sendEvent(t, d, e)
			}
		}
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
		open = open[:0]
	}
	for range events {
		now += rng.Int64N(1000)
		e := event{[]string{"activate", "deactivate", "motion", "motion", "motion"}[rng.IntN(5)], rng.IntN(rooms), now}
		sendEvent(t, d, e)
		if rng.IntN(20) == 0 { // garbage in between changes nothing
			if err := d.Send("alarm-events", []byte(strconv.Itoa(e.Room)), []byte(`{"type":`), -1); err != nil {
				t.Fatal(err)
			}
		}
		open = append(open, e)
		history[e.Room] = append(history[e.Room], e)
		if rng.IntN(50) == 0 {
			settle()
		}
	}
	settle()
	got := make(map[string][]string)
	for _, r := range d.Outputs("alarms") {
		got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
	}
	alarms := 0
	for i, h := range history {
		model := modelAlarms(h)
		alarms += len(model)
		want(t, fmt.Sprint("room ", i), got[strconv.Itoa(i)], model...)
	}
	if alarms < 1000 {
		t.Errorf("the model has only %d alarms", alarms)
	}
}

func sendEvent(t *testing.T, d *topology.Driver, e event) {
	t.Helper()
	value := fmt.Sprintf(`{"type":%q,"room":%d,"time":%d}`, e.Type, e.Room, e.Time)
	send(t, d, "alarm-events", strconv.Itoa(e.Room), value)
}

type tally struct {
	Minute int64 `json:"minute"`
	N      int64 `json:"n"`
	Last   int64 `json:"last"`
}

// tallyJob counts alarms per minute, over all rooms, in a second stage.
func tallyJob() *topology.Job {
	job := topology.New("tally")
	events := topology.From(job, "alarm-events", codec.JSON[event](), topology.PartitionedBy(room), topology.EventTime(when, 0))
	alarms := topology.Process(events, "arm", alarm)
	topology.To(alarms, "alarms", codec.JSON[event]())
	ones := topology.Map(alarms, func(e event) tally { return tally{Minute: e.Time / 60_000, N: 1, Last: e.Time} })
	byMinute := topology.KeyBy(ones, "by-minute", func(v tally) int64 { return v.Minute }, codec.Avro[tally]())
	sums := topology.Reduce(byMinute, "sum", func(a, b tally) tally {
		return tally{Minute: a.Minute, N: a.N + b.N, Last: max(a.Last, b.Last)}
	})
	topology.To(sums, "tallies", codec.JSON[tally](), topology.KeyedBy(func(v tally) string { return fmt.Sprint("m", v.Minute) }))
	return job
}

func TestTwoStages(t *testing.T) {
	d := newDriver(t, tallyJob(), topology.Partitions(3))
	for r := range 6 {
		sendEvent(t, d, event{"activate", r, 0})
		sendEvent(t, d, event{"motion", r, 6000 + int64(r)})
		sendEvent(t, d, event{"motion", r, 60_000 + int64(r)})
	}
	states, err := topology.StateOf[tally](d, "sum")
	if err != nil || len(states) != 2 || states["0"] != (tally{0, 6, 6005}) || states["1"] != (tally{1, 6, 60_005}) {
		t.Errorf("sums %v, %v", states, err)
	}
	out := d.Outputs("tallies")
	if len(out) != 12 || string(out[0].Key) != "m0" || string(out[0].Value) != `{"minute":0,"n":1,"last":6000}` {
		t.Errorf("%d tallies, the first %s: %s", len(out), out[0].Key, out[0].Value)
	}
	// The event time is that of the record that was counted, also behind KeyBy.
	if got := string(out[11].Header(topology.HeaderTime)); got != "60005" {
		t.Errorf("event time %q, want 60005", got)
	}
}
