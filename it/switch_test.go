package it

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	motion "github.com/procd/procd/examples/motion-alarm"
	"github.com/procd/procd/internal/kafkatest"
)

const (
	// switchRate is how many events a second a job gets while it is changed.
	switchRate = 20_000
	// switchRooms is few enough that every other event of a partition tells the
	// two versions apart; see generator.restless.
	switchRooms = 40
	// switchOutputs is how many outputs each version has to make, at least.
	switchOutputs = 10_000
)

// TestSwitch changes a job under load, with savepoint-and-stop and start: what
// comes out is what the old version makes of every record before the savepoint's
// offsets and the new one of every record from there on, each once.
func TestSwitch(t *testing.T) {
	shared := sharedKafka(t)
	t.Run("variants", func(t *testing.T) {
		v1, v2 := exampleYAML(motion.V1), exampleYAML(motion.V2)
		t.Run("one stage", func(t *testing.T) {
			t.Parallel()
			testSwitch(t, shared, options{}, 1, edition{yaml: v1, see: atOnce}, edition{yaml: v2, see: eager})
		})
		t.Run("three processes", func(t *testing.T) {
			t.Parallel()
			testSwitch(t, shared, options{}, 3, edition{yaml: v1, see: atOnce}, edition{yaml: v2, see: eager})
		})
		t.Run("YAML to Go and back", func(t *testing.T) {
			t.Parallel()
			// The names are those in the example's main: its own broker.
			testSwitch(t, ownKafka(t, kafkatest.BrokerOptions{}), options{Name: "motion-alarm", In: "alarm-events", Out: "alarms"}, 1,
				edition{yaml: v1, see: atOnce}, edition{program: "examples/motion-alarm/go/v2", see: eager}, edition{yaml: v1, see: atOnce})
		})
		t.Run("two stages", func(t *testing.T) {
			t.Parallel()
			testSwitchStages(t, shared)
		})
	})
}

// exampleYAML is a job file of the examples, with its names to be filled in.
func exampleYAML(text string) *template.Template {
	job, _, _ := strings.Cut(text, "tests:\n")
	job = strings.NewReplacer("job: motion-alarm\n", "job: {{.Name}}\n", "topic: alarm-events", "topic: {{.In}}",
		"topic: alarms", "topic: {{.Out}}").Replace(job)
	return template.Must(template.New("example").Parse(job))
}

// edition is a version of the motion alarm: a job file, or a program.
type edition struct {
	yaml    *template.Template
	program string
	see     version
}

// atOnce is the first version of the examples: while a room is active, every
// motion rings.
func atOnce(r *room, e event) bool {
	if e.Type == "motion" {
		return r.Active
	}
	return eager(r, e)
}

func testSwitch(t *testing.T, k *kafka, o options, processes int, editions ...edition) {
	j := newJob(t, k, o)
	j.watch()
	g := newGenerator(run.seed, switchRooms)
	g.restless = true
	j.produce(g.arm()...)
	feed := j.feed(g, switchRate)
	began := time.Now()
	var cuts []taken
	for i, l := range editions {
		var flags []string
		if i > 0 {
			flags = []string{"--savepoint", cuts[i-1].id}
		}
		before := j.out.Count()
		procs := j.startEdition(l, processes, flags...)
		j.waitMembers(processes)
		j.waitOutput(before+switchOutputs, time.Minute)
		if i == len(editions)-1 {
			must(t, feed.stop())
			t.Logf("%.0f events a second", float64(feed.count.Load())/time.Since(began).Seconds())
			j.waitDone(time.Minute)
		}
		cuts = append(cuts, j.stopAt(procs))
	}
	j.verifySwitch(editions, cuts)
}

// startEdition starts processes of a version.
func (j *job) startEdition(l edition, processes int, flags ...string) (procs []*kafkatest.Process) {
	j.t.Helper()
	if l.yaml != nil {
		j.write(l.yaml)
	} else {
		binary, name := j.binary, j.Program
		defer func() { j.binary, j.Program = binary, name }()
		j.binary, j.Program = program(j.t, l.program), l.program
	}
	for range processes {
		procs = append(procs, j.start(flags...))
	}
	return procs
}

// stopAt is savepoint-and-stop: the job's offsets are the savepoint's.
func (j *job) stopAt(procs []*kafkatest.Process) taken {
	j.t.Helper()
	s := j.savepoint("savepoint-and-stop")
	for _, p := range procs {
		if code := j.ends(p, 20*time.Second); code != 0 {
			j.t.Errorf("a process ended with %d after the stop", code)
		}
	}
	for p, at := range j.committed() {
		if s.offsets[p] != at {
			j.t.Errorf("the job stopped at offset %d of partition %d, its savepoint says %d", at, p.n, s.offsets[p])
		}
	}
	return s
}

// verifySwitch compares outputs and savepoints with the model.
func (j *job) verifySwitch(editions []edition, cuts []taken) {
	j.t.Helper()
	input, h := j.read(j.In), newHistory()
	from := map[partition]int64(nil)
	for i, l := range editions {
		must(j.t, h.pass(input, from, cuts[i].offsets, l.see))
		must(j.t, sameRooms(cuts[i], h.rooms))
		from = cuts[i].offsets
		if i < len(editions)-1 {
			must(j.t, sharp(input, from, l.see, editions[i+1].see))
		}
	}
	output := j.read(j.Out)
	must(j.t, sameAlarms(output, h.alarms))
	must(j.t, inOrder(input, output))
	j.verifyReader(output)
	j.verifySettled()
	j.t.Logf("%d events, %d alarms", len(input), len(output))
}

// sharp wants two versions to differ right before and right after the cut in
// every partition: else nobody could see where the logic switches.
func sharp(input []*kgo.Record, cut map[partition]int64, a, b version) error {
	const near = 100
	rooms, before, after := map[int]room{}, map[partition]bool{}, map[partition]bool{}
	for _, r := range input {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		now := rooms[e.Room]
		other := now
		differ := a(&now, e) != b(&other, e)
		rooms[e.Room] = now
		p := partition{r.Topic, r.Partition}
		switch at := r.Offset - cut[p]; {
		case differ && at < 0 && at >= -near:
			before[p] = true
		case differ && at >= 0 && at < near:
			after[p] = true
		}
	}
	if len(before) != len(cut) || len(after) != len(cut) {
		return fmt.Errorf("of %d partitions %d differ right before the cut, %d right after it", len(cut), len(before), len(after))
	}
	return nil
}

// inOrder wants the alarms of a partition to be those of input offsets that
// only grow: what one version has processed, no other one does.
func inOrder(input, output []*kgo.Record) error {
	offsets := map[int64]int64{} // of the motion, by its time
	for _, r := range input {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		offsets[e.Time] = r.Offset
	}
	last := map[int32]int64{}
	for _, r := range output {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		if before, ok := last[r.Partition]; ok && offsets[e.Time] <= before {
			return fmt.Errorf("partition %d: the alarm at %d is of input offset %d, the one before it of %d", r.Partition, r.Offset, offsets[e.Time], before)
		}
		last[r.Partition] = offsets[e.Time]
	}
	return nil
}

// stagesYAML counts the motions of a floor behind a repartition topic. A version
// shows on both sides of it: in what a motion counts, and in the output.
func stagesYAML(each, version int) *template.Template {
	return template.Must(template.New("stages").Parse(fmt.Sprintf(`job: {{.Name}}
input:
  topic: {{.In}}
  fields: {type: string, room: int, time: long}
  key: room
steps:
  - filter: type == "motion"
  - map: {floor: room / 10, n: %d}
  - key: floor
    name: by-floor
  - reduce: counts
    set: {n: a.n + b.n}
  - set: {version: %d}
output: {topic: {{.Out}}, key: floor}
`, each, version)))
}

// eachLater is what a motion counts in the second version of stagesYAML.
const eachLater = 1_000_000

func testSwitchStages(t *testing.T, k *kafka) {
	j := newJob(t, k, options{Template: stagesYAML(1, 1)})
	j.watch()
	feed := j.feed(newGenerator(run.seed, switchRooms), switchRate)
	v1 := j.start()
	j.waitOutput(switchOutputs, time.Minute)
	s := j.stopAtStages(v1)
	j.write(stagesYAML(eachLater, 2))
	v2 := j.start("--savepoint", s.id)
	j.waitOutput(j.out.Count()+switchOutputs, time.Minute)
	must(t, feed.stop())
	j.waitDone(time.Minute)
	input := j.read(j.In)
	want, err := floorCounts(input, s.offsets)
	must(t, err)
	j.stopAtStages(v2) // drains the second stage
	output := j.read(j.Out)
	must(t, sameCounts(output, want))
	j.verifyReader(output)
	j.verifySettled()
	t.Logf("%d events, %d counts", len(input), len(output))
}

// stopAtStages is stopAt for a job whose store holds no rooms.
func (j *job) stopAtStages(p *kafkatest.Process) taken {
	j.t.Helper()
	j.waitArrived()
	var result struct{ ID string }
	must(j.t, json.Unmarshal([]byte(j.output("savepoint-and-stop", j.Name, "--json")), &result))
	if code := j.ends(p, 20*time.Second); code != 0 {
		j.t.Errorf("a process ended with %d after the stop", code)
	}
	return taken{id: result.ID, offsets: j.savedOffsets(result.ID)}
}

// counted is an output of stagesYAML.
type counted struct{ Floor, N, Version int }

// floorCounts are the outputs of each floor. All motions of a version count the
// same, so that the order in which those of several partitions meet does not
// matter, and one that is on the wrong side of the cut does.
func floorCounts(input []*kgo.Record, cut map[partition]int64) (map[int][]counted, error) {
	motions := [2]map[int]int{{}, {}} // before and after the cut, by floor
	for _, r := range input {
		e, err := parseEvent(r)
		if err != nil {
			return nil, err
		}
		if e.Type != "motion" {
			continue
		}
		side := 0
		if r.Offset >= cut[partition{r.Topic, r.Partition}] {
			side = 1
		}
		motions[side][e.Room/10]++
	}
	want := map[int][]counted{}
	for floor := range union(motions[0], motions[1]) {
		n := 0
		for side, each := range []int{1, eachLater} {
			for range motions[side][floor] {
				n += each
				want[floor] = append(want[floor], counted{floor, n, side + 1})
			}
		}
	}
	return want, nil
}

func sameCounts(output []*kgo.Record, want map[int][]counted) error {
	got := map[int][]counted{}
	for _, r := range output {
		var c counted
		if err := json.Unmarshal(r.Value, &c); err != nil {
			return err
		}
		got[c.Floor] = append(got[c.Floor], c)
	}
	var errs []error
	for floor := range union(got, want) {
		if g, w := got[floor], want[floor]; !slices.Equal(g, w) {
			i := 0
			for i < min(len(g), len(w)) && g[i] == w[i] {
				i++
			}
			errs = append(errs, fmt.Errorf("floor %d: %d counts, want %d; from number %d on %v, want %v", floor, len(g), len(w), i,
				g[i:min(i+3, len(g))], w[i:min(i+3, len(w))]))
		}
	}
	return errors.Join(errs...)
}

// TestSwitchModelSeesFaults breaks on purpose what TestSwitch compares.
func TestSwitchModelSeesFaults(t *testing.T) {
	g := newGenerator(1, switchRooms)
	g.restless = true
	var input []*kgo.Record
	next := map[int32]int64{}
	for _, e := range append(g.arm(), g.events(5000)...) {
		r := e.record("in")
		r.Partition = int32(e.Room % 4)
		r.Offset = next[r.Partition]
		next[r.Partition]++
		input = append(input, r)
	}
	slices.SortStableFunc(input, func(a, b *kgo.Record) int { return cmp.Compare(a.Partition, b.Partition) })
	cut := map[partition]int64{}
	for p, n := range next {
		cut[partition{"in", p}] = n / 2
	}
	must(t, sharp(input, cut, atOnce, eager))
	if sharp(input, cut, atOnce, atOnce) == nil {
		t.Error("the same version twice: not seen")
	}
	model := func(cut map[partition]int64) map[int][]event {
		h := newHistory()
		must(t, h.pass(input, nil, cut, atOnce))
		must(t, h.pass(input, cut, nil, eager))
		return h.alarms
	}
	var output []*kgo.Record
	alarms := model(cut)
	for _, r := range input {
		e, err := parseEvent(r)
		must(t, err)
		if slices.Contains(alarms[e.Room], event{"ALARM", e.Room, e.Time}) {
			out := event{"ALARM", e.Room, e.Time}.record("out")
			out.Partition = r.Partition
			output = append(output, out)
		}
	}
	must(t, errors.Join(sameAlarms(output, alarms), inOrder(input, output)))
	late := map[partition]int64{}
	for p, at := range cut {
		late[p] = at + 100
	}
	if sameAlarms(output, model(late)) == nil {
		t.Error("a switch 100 records later: not seen")
	}
	if inOrder(input, append(slices.Clone(output), output[len(output)-1])) == nil {
		t.Error("an alarm twice: not seen")
	}

	want, err := floorCounts(input, cut)
	must(t, err)
	var counts []*kgo.Record
	for _, all := range want {
		for _, c := range all {
			counts = append(counts, &kgo.Record{Value: fmt.Appendf(nil, `{"floor":%d,"n":%d,"version":%d}`, c.Floor, c.N, c.Version)})
		}
	}
	must(t, sameCounts(counts, want))
	one := map[partition]int64{}
	for p, at := range cut {
		one[p] = at + 1
	}
	shifted, err := floorCounts(input, one)
	must(t, err)
	if sameCounts(counts, shifted) == nil || sameCounts(counts[1:], want) == nil || sameCounts(append(counts, counts[len(counts)-1]), want) == nil {
		t.Error("a motion on the wrong side, a count lost or doubled: not seen")
	}
}
