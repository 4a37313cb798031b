package savepoint

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// The scenarios are text files; go test ./savepoint -run TestJudge -rewrite
// writes what comes out into them, for review.
func TestJudge(t *testing.T) {
	datadriven.Walk(t, "testdata/verdict", func(t *testing.T, path string) {
		s := &scenario{schemas: make(map[string]string)}
		datadriven.RunTest(t, path, s.command)
	})
}

// scenario is what the commands of a file have said so far.
type scenario struct {
	schemas map[string]string
	m       Manifest
	plan    Plan
	o       Options
}

func (s *scenario) command(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "schema":
		var name string
		d.ScanArgs(t, "name", &name)
		s.schemas[name] = strings.TrimSpace(d.Input)
	case "savepoint":
		s.savepoint(t, d)
	case "job":
		s.job(t, d)
	case "judge":
		return s.judge(t, d)
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	return ""
}

// savepoint reads lines "topic NAME ID OFFSET...", "stage ID PARTITIONS
// PARTITIONER" and "store UID STAGE KEYTYPE SCHEMA:ROWS...".
func (s *scenario) savepoint(t *testing.T, d *datadriven.TestData) {
	s.m = Manifest{Job: "alarm", CreatedAt: time.Date(2026, 11, 22, 10, 15, 30, 0, time.UTC)}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		switch f[0] {
		case "topic":
			s.m.Sources = append(s.m.Sources, Topic{Name: f[1], ID: f[2], Partitions: int32(len(f) - 3)})
			for p, text := range f[3:] {
				s.m.Tasks = append(s.m.Tasks, Task{Sources: []kstate.SourceOffset{{Topic: f[1], Partition: int32(p), Offset: number(t, text)}}})
			}
		case "stage":
			s.m.Stages = append(s.m.Stages, Stage{ID: f[1], Partitions: int32(number(t, f[2])), Partitioner: topology.Partitioner(f[3])})
		case "store":
			s.m.Stores = append(s.m.Stores, s.store(t, f))
		default:
			d.Fatalf(t, "unknown line %s", line)
		}
	}
}

func (s *scenario) store(t *testing.T, f []string) Store {
	st := Store{UID: f[1], Stage: f[2], KeyType: f[3], Parts: []Part{{}}}
	for i, v := range f[4:] {
		name, rows, _ := strings.Cut(v, ":")
		st.Versions = append(st.Versions, Version{Version: i + 1, Schema: s.schemas[name], Rows: number(t, rows)})
		st.Parts[0].Rows = append(st.Parts[0].Rows, VersionRows{Version: i + 1, Rows: number(t, rows)})
		st.Current = i + 1
	}
	return st
}

// job reads lines "stage ID PARTITIONS PARTITIONER SOURCE..." and "store UID
// STAGE KEYTYPE SCHEMA".
func (s *scenario) job(t *testing.T, d *datadriven.TestData) {
	s.plan = Plan{Job: "alarm"}
	if d.HasArg("name") {
		d.ScanArgs(t, "name", &s.plan.Job)
	}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		if f[0] == "stage" {
			s.plan.Stages = append(s.plan.Stages, PlanStage{ID: f[1], Partitions: int32(number(t, f[2])), Partitioner: topology.Partitioner(f[3]), Sources: f[4:]})
			continue
		}
		s.plan.Stores = append(s.plan.Stores, PlanStore{UID: f[1], Stage: f[2], KeyType: f[3], Schema: s.schemas[f[4]]})
	}
}

// judge reads lines "topic NAME ID START-END..." and "topic NAME missing".
func (s *scenario) judge(t *testing.T, d *datadriven.TestData) string {
	s.o = Options{AcceptGap: d.HasArg("accept-gap"), Savepoint: testID, JobFile: "job.yaml"}
	for _, a := range d.CmdArgs {
		if a.Key == "drop" {
			s.o.Drop = append(s.o.Drop, a.Vals...)
		}
	}
	for line := range strings.Lines(d.Input) {
		s.facts(t, strings.Fields(line))
	}
	v := Judge(&s.m, s.plan, s.o)
	var out strings.Builder
	for _, l := range v.Lines {
		fmt.Fprintf(&out, "%s %s %s %d: %s\n", l.Level, l.Rule, l.Subject, l.Count, l.Text)
		if l.Hint != "" {
			fmt.Fprintf(&out, "    hint: %s\n", l.Hint)
		}
	}
	fmt.Fprintf(&out, "ok=%v next: %s\n", v.OK, v.Command)
	return out.String()
}

func (s *scenario) facts(t *testing.T, f []string) {
	if s.o.Topics == nil {
		s.o.Topics = make(map[string]TopicFacts)
	}
	facts := TopicFacts{Missing: f[2] == "missing", ID: f[2], Partitions: int32(len(f) - 3)}
	for _, text := range f[3:] {
		start, end, _ := strings.Cut(text, "-")
		facts.Start = append(facts.Start, number(t, start))
		facts.End = append(facts.End, number(t, end))
	}
	s.o.Topics[f[1]] = facts
}

func number(t *testing.T, text string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%q is not a number", text)
	}
	return n
}

func TestPlanOf(t *testing.T) {
	type event struct{ Room int }
	type armed struct{ Active bool }
	job := topology.New("alarm")
	in := topology.From(job, "events", codec.JSON[event](), topology.PartitionedBy(func(e event) int { return e.Room }), topology.PartitionedWith(topology.CRC32))
	out := topology.Process(in, "arm", func(c topology.Ctx[armed, event], e event) { c.Emit(e) })
	rooms := topology.KeyBy(out, "by-room", func(e event) int { return e.Room }, codec.JSON[event]())
	topology.To(topology.Reduce(rooms, "last", func(_, b event) event { return b }), "alarms", codec.JSON[event]())
	p, err := job.Plan()
	must(t, err)
	got := PlanOf(p)
	want := Plan{Job: "alarm", Stages: []PlanStage{
		{ID: "in:events", Sources: []string{"events"}, Partitioner: topology.CRC32},
		{ID: "by:by-room", Partitioner: topology.Murmur2},
	}, Stores: []PlanStore{
		{UID: "arm", Stage: "in:events", KeyType: "int", Schema: codec.State[armed]().Schema()},
		{UID: "last", Stage: "by:by-room", KeyType: "int", Schema: codec.State[event]().Schema()},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}
