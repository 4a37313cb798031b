package it

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// manyEvents is enough for hundreds of transactions and every turn of a room.
const manyEvents = 200_000

func TestAlarmYAML(t *testing.T) { testAlarm(t, sharedKafka(t), options{}) }

// TestAlarmGo runs the same job written in Go: its main has the same commands.
// Its names are those of the example, so that it has its own broker.
func TestAlarmGo(t *testing.T) {
	testAlarm(t, ownKafka(t, kafkatest.BrokerOptions{}), options{
		Program: "examples/motion-alarm/go/v2", Name: "motion-alarm", In: "alarm-events", Out: "alarms",
	})
}

func testAlarm(t *testing.T, k *kafka, o options) {
	j := newJob(t, k, o)
	j.watch()
	g := newGenerator(run.seed, 300)
	j.produce(g.events(manyEvents / 2)...)
	p := j.start()
	j.produce(g.events(manyEvents / 2)...)
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.verify()
}

// floorsYAML has a second stage: alarms of the first are counted per floor,
// which is another key and so another partition.
var floorsYAML = template.Must(template.New("floors").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  fields: {type: string, room: int, time: long}
  key: room
steps:
  - filter: type == "motion"
  - map: {floor: room / 10, n: 1, sum: time}
  - key: floor
    name: by-floor
  - reduce: counts
    set: {n: a.n + b.n, sum: a.sum + b.sum}
output: {topic: {{.Out}}, key: floor}
`))

// tally is an output of floorsYAML: how many motions a floor had, and the sum
// of their times. As times are unique, the difference of two tallies names the
// motion that came between.
type tally struct {
	Floor int   `json:"floor"`
	N     int   `json:"n"`
	Sum   int64 `json:"sum"`
}

func TestSecondStage(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Template: floorsYAML})
	j.watch()
	g := newGenerator(run.seed, 300)
	j.produce(g.events(manyEvents / 2)...)
	p := j.start()
	j.produce(g.events(manyEvents / 2)...)
	j.waitFloors(time.Minute)
	j.interrupt(p)
	j.verifyFloors()
}

func (j *job) repartition() string { return fmt.Sprintf("procd.%s.g1.by-floor.repartition", j.Name) }

// waitFloors waits until both stages have committed all they were given.
func (j *job) waitFloors(d time.Duration) {
	j.t.Helper()
	j.waitDone(d)
	eventually(j.t, d, func() error { return j.kafka.NoLag(j.t.Context(), j.group(), j.In, j.repartition()) })
}

// verifyFloors wants each motion to be counted exactly once on its floor, and
// motions of one input partition in their order.
func (j *job) verifyFloors() {
	j.t.Helper()
	output := j.read(j.Out)
	must(j.t, sameTallies(output, j.read(j.In)))
	j.verifyReader(output)
	j.verifySettled()
}

func sameTallies(output, input []*kgo.Record) error {
	motions := map[int]map[int64]*kgo.Record{} // by floor and time
	for _, r := range input {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		if e.Type != "motion" {
			continue
		}
		floor := e.Room / 10
		if motions[floor] == nil {
			motions[floor] = map[int64]*kgo.Record{}
		}
		motions[floor][e.Time] = r
	}
	last := map[int]tally{}
	offsets := map[partition]int64{} // of the newest motion counted, by floor and input partition
	var errs []error
	for _, r := range output {
		if err := nextTally(r, motions, last, offsets); err != nil {
			errs = append(errs, err)
		}
	}
	for floor, left := range motions {
		if len(left) > 0 {
			errs = append(errs, fmt.Errorf("floor %d: %d motions are not counted, the first at %d", floor, len(left), slices.Min(slices.Collect(maps.Keys(left)))))
		}
	}
	return errors.Join(errs[:min(5, len(errs))]...)
}

func nextTally(r *kgo.Record, motions map[int]map[int64]*kgo.Record, last map[int]tally, offsets map[partition]int64) error {
	var now tally
	if err := json.Unmarshal(r.Value, &now); err != nil {
		return err
	}
	before := last[now.Floor]
	last[now.Floor] = now
	at := now.Sum - before.Sum
	motion := motions[now.Floor][at]
	if now.N != before.N+1 || motion == nil {
		return fmt.Errorf("floor %d: %+v after %+v: no motion of this floor left at time %d", now.Floor, now, before, at)
	}
	delete(motions[now.Floor], at)
	p := partition{fmt.Sprint(now.Floor), motion.Partition}
	if was, ok := offsets[p]; ok && was > motion.Offset {
		return fmt.Errorf("floor %d: input offset %d counted after %d of the same partition", now.Floor, motion.Offset, was)
	}
	offsets[p] = motion.Offset
	return nil
}
