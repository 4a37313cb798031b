package coordinator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/go-json-experiment/json"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// TestMachine runs the text files of testdata. Rewrite the expectations with
//
//	go test ./internal/coordinator -run TestMachine -rewrite
//
// and review them as text.
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{t: t, names: map[string]string{}, machines: map[string]*machine{}, now: epoch}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d = t, d
			s.printed.Reset()
			s.run()
			s.settle()
			return s.printed.String()
		})
	})
}

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// scenario is a control topic with machines that follow it. After each command
// every machine that is awake is stepped until nothing happens any more, and
// what they want done is printed. Nothing is done before `do` says so.
type scenario struct {
	t        *testing.T
	d        *datadriven.TestData
	stages   []Stage
	names    map[string]string // r1 -> id of the savepoint
	view     control.View
	now      time.Time
	schedule topology.Schedule
	machines map[string]*machine
	printed  strings.Builder
}

type machine struct {
	*Machine
	asleep  bool
	pending []Effect
	done    []Outcome
}

func (s *scenario) run() {
	arg := func(i int) string { return s.d.CmdArgs[i].Key }
	switch s.d.Cmd {
	case "job": // lines of STAGE PARTITIONS [stores=a,b] [reads=t] [writes=t]
		s.job()
	case "schedule":
		s.schedule.Every, _ = time.ParseDuration(s.word("every"))
		s.schedule.Keep, _ = strconv.Atoi(s.word("keep"))
	case "base": // NAME: what the generation began with
		s.apply("generation/1", control.Generation{Job: "j", Generation: 1, Run: 1, Savepoint: &control.SavepointRef{ID: s.id(arg(0))}})
	case "coordinator":
		s.coordinator(arg(0))
	case "sleep":
		s.machines[arg(0)].asleep = true
	case "wake":
		s.machines[arg(0)].asleep = false
	case "end":
		delete(s.machines, arg(0))
	case "request": // NAME [stop] [run=N] [scheduled]
		s.request(arg(0))
	case "report": // NAME ATTEMPT WORKER SESSION TASK:STEP... [err="..."] [joined] [bytes=N] [pause=N]
		s.report()
	case "do": // MACHINE WHAT [err="..."] [overtaken] [complete] [ends=TOPIC:0,0]
		s.do()
	case "clock":
		d, err := time.ParseDuration(arg(0))
		if err != nil {
			s.t.Fatalf("%s: %v", s.d.Pos, err)
		}
		s.now = s.now.Add(d)
	case "state": // RUNNING|STOPPED RUN
		run, _ := strconv.Atoi(arg(1))
		s.apply("state", control.State{State: control.RunState(arg(0)), Generation: 1, Run: run, At: s.now, By: "bob@host"})
	case "say": // a late record: NAME ATTEMPT STEP COORDINATOR PHASE
		s.late()
	case "command":
		s.command()
	case "results":
		for _, r := range s.view.Results() {
			fmt.Fprintf(&s.printed, "pause %d ms: %s\n", r.PauseMillis, s.short(Answer{key{r.ID, r.Attempts}, r, ""}.String()))
		}
	default:
		s.t.Fatalf("%s: no command %q", s.d.Pos, s.d.Cmd)
	}
}

// word is the value of an argument, "" if it is not there.
func (s *scenario) word(key string) string {
	for _, a := range s.d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

func (s *scenario) job() {
	s.stages = nil
	for line := range strings.Lines(s.d.Input) {
		f := strings.Fields(line)
		n, _ := strconv.Atoi(f[1])
		stage := Stage{ID: f[0], Partitions: int32(n)}
		for _, extra := range f[2:] {
			what, list, _ := strings.Cut(extra, "=")
			switch what {
			case "stores":
				stage.Stores = strings.Split(list, ",")
			case "reads":
				stage.Reads = strings.Split(list, ",")
			case "writes":
				stage.Writes = strings.Split(list, ",")
			}
		}
		s.stages = append(s.stages, stage)
	}
	s.apply("generation/1", control.Generation{Job: "j", Generation: 1, Run: 1})
	s.apply("state", control.State{State: control.Running, Generation: 1, Run: 1, At: s.now, By: "ann@host"})
	l, err := newLayout(s.stages)
	if err != nil {
		fmt.Fprintf(&s.printed, "%v\n", err)
		return
	}
	for i, wave := range l.waves {
		fmt.Fprintf(&s.printed, "wave %d: %s reads %v\n", i, strings.Join(wave, " "), l.reads(i))
	}
}

func (s *scenario) coordinator(name string) {
	m, err := New(Config{
		Coordinator: name, Stages: s.stages, Location: "/savepoints", Limits: DefaultLimits, Schedule: s.schedule,
	})
	if err != nil {
		s.t.Fatalf("%s: %v", s.d.Pos, err)
	}
	s.machines[name] = &machine{Machine: m}
}

// id is the id of the savepoint that a scenario calls r1.
func (s *scenario) id(name string) string {
	if id, ok := s.names[name]; ok {
		return id
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "r"))
	if err != nil {
		s.t.Fatalf("%s: %q is no name of a request", s.d.Pos, name)
	}
	s.names[name] = savepoint.NewID(epoch, [2]byte{0, byte(n)})
	return s.names[name]
}

// short puts the names back.
func (s *scenario) short(text string) string {
	for name, id := range s.names {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}

// apply puts a record into the control topic, as docs/format/control-topic.md
// says; nil is a tombstone.
func (s *scenario) apply(key string, record any) {
	s.t.Helper()
	var value []byte
	if record != nil {
		body, err := json.Marshal(record)
		if err != nil {
			s.t.Fatal(err)
		}
		value = slices.Concat([]byte(`{"format":1,`), body[1:])
	}
	if err := s.view.Apply([]byte(key), value); err != nil {
		s.t.Fatalf("%s: %v", s.d.Pos, err)
	}
}

func (s *scenario) request(name string) {
	run := s.view.State().Run
	if n, err := strconv.Atoi(s.word("run")); err == nil {
		run = n
	}
	id := s.id(name)
	s.apply("request/"+id, control.Request{
		ID: id, Generation: 1, Run: run, Stop: s.d.HasArg("stop"), Scheduled: s.d.HasArg("scheduled"), At: s.now, By: "ann@host",
	})
}

// report takes tasks as STAGE/PARTITION:STEP.
func (s *scenario) report() {
	attempt, _ := strconv.Atoi(s.d.CmdArgs[1].Key)
	r := control.Report{
		Request: s.id(s.d.CmdArgs[0].Key), Attempt: attempt,
		Worker: s.d.CmdArgs[2].Key, Session: s.d.CmdArgs[3].Key, Err: s.word("err"), Joined: s.d.HasArg("joined"), At: s.now,
	}
	r.Bytes, _ = strconv.ParseInt(s.word("bytes"), 10, 64)
	r.PauseMillis, _ = strconv.ParseInt(s.word("pause"), 10, 64)
	for _, a := range s.d.CmdArgs[4:] {
		if colon := strings.LastIndexByte(a.Key, ':'); colon > 0 {
			r.Tasks = append(r.Tasks, s.taskReport(a.Key[:colon], control.TaskStep(a.Key[colon+1:])))
		}
	}
	s.apply("report/"+r.Request+"/"+r.Worker, r)
}

func (s *scenario) taskReport(name string, step control.TaskStep) control.TaskReport {
	slash := strings.LastIndexByte(name, '/')
	n, err := strconv.Atoi(name[slash+1:])
	if err != nil {
		s.t.Fatalf("%s: %q is no task", s.d.Pos, name)
	}
	return control.TaskReport{Stage: name[:slash], Partition: int32(n), Step: step}
}

// do performs the oldest effect of its kind that a machine wants done. The
// decider's rules are those of package control.
func (s *scenario) do() {
	m := s.machines[s.d.CmdArgs[0].Key]
	what := s.d.CmdArgs[1].Key
	i := slices.IndexFunc(m.pending, func(e Effect) bool { return strings.HasPrefix(e.String(), what) })
	if i < 0 {
		s.t.Fatalf("%s: %s does not want to %s", s.d.Pos, s.d.CmdArgs[0].Key, what)
	}
	e := m.pending[i]
	m.pending = slices.Delete(m.pending, i, i+1)
	var err error
	if text := s.word("err"); text != "" {
		err = errors.New(text)
	}
	outcome := s.perform(e, err)
	if s.d.HasArg("silently") { // the outcome is on its way for ever
		return
	}
	m.done = append(m.done, outcome)
}

func (s *scenario) perform(e Effect, err error) Outcome {
	switch e := e.(type) {
	case Claim:
		if err == nil {
			if err = s.view.MayClaim(e.Record); err == nil {
				s.apply("attempt/"+e.request, e.Record)
			}
		}
		return Claimed{e.key, err}
	case Begin:
		o := Begun{e.key, "token", nil, err}
		if s.d.HasArg("complete") {
			o.Complete = &Complete{SHA256: "abc", Bytes: 100, Rows: 3}
		}
		return o
	case Say:
		if err == nil {
			s.apply("attempt/"+e.request, e.Record)
		}
		return Said{e.key, err}
	case Measure:
		ends := control.Offsets{}
		for _, topic := range e.Topics {
			ends[topic] = []int64{5, 5, 5, 5}
		}
		return Measured{e.key, ends, err}
	case Publish:
		return Published{e.key, Complete{SHA256: "abc", Bytes: 100, Rows: 3}, err}
	case Answer:
		return Answered{e.key, s.answer(e, err)}
	case Ask:
		return Asked{Err: err}
	case Prune:
		for _, id := range e.IDs {
			s.apply("result/"+id, nil)
		}
		return Pruned{Err: err}
	}
	s.t.Fatalf("%s: no effect %T", s.d.Pos, e)
	return nil
}

func (s *scenario) answer(e Answer, err error) error {
	if err == nil {
		err = s.view.MayAnswer(e.Result, e.attempt, e.Coordinator)
	}
	if err != nil {
		return err
	}
	r := s.view.Settle(e.Result)
	r.Finished = s.now
	s.apply("result/"+r.ID, r)
	if r.Stopped {
		st := s.view.State()
		st.State, st.Savepoint = control.Stopped, r.ID
		s.apply("state", st)
	}
	return nil
}

func (s *scenario) late() {
	attempt, _ := strconv.Atoi(s.d.CmdArgs[1].Key)
	step, _ := strconv.Atoi(s.d.CmdArgs[2].Key)
	id := s.id(s.d.CmdArgs[0].Key)
	s.apply("attempt/"+id, control.Attempt{
		Request: id, Attempt: attempt, Step: step, Coordinator: s.d.CmdArgs[3].Key, Run: 1, Phase: control.Phase(s.d.CmdArgs[4].Key),
	})
}

// command prints what the workers have to do.
func (s *scenario) command() {
	c, ok := Current(&s.view)
	if !ok {
		s.printed.WriteString("nothing to do\n")
		return
	}
	fmt.Fprintf(&s.printed, "%s#%d %s", s.short(c.Request), c.Attempt, c.Phase)
	for _, stage := range s.stages {
		if c.Cuts(stage.ID) {
			fmt.Fprintf(&s.printed, " cuts %s", stage.ID)
			for _, topic := range stage.Reads {
				if end, ok := c.End(topic, 0); ok {
					fmt.Fprintf(&s.printed, " to %d", end)
				}
			}
		}
	}
	if c.Hold {
		s.printed.WriteString(" hold")
	}
	s.printed.WriteString("\n")
}

// settle steps all machines and prints what they want done.
func (s *scenario) settle() {
	for _, name := range slices.Sorted(maps.Keys(s.machines)) {
		m := s.machines[name]
		if m.asleep {
			continue
		}
		for {
			e := Event{Now: s.now, View: &s.view}
			if len(m.done) > 0 {
				e.Done, m.done = m.done[0], m.done[1:]
			}
			effects := m.Step(e)
			for _, effect := range effects {
				fmt.Fprintf(&s.printed, "%s: %s\n", name, s.short(effect.String()))
				m.pending = append(m.pending, effect)
			}
			if at := m.Deadline(); !at.IsZero() && !at.After(s.now) {
				s.t.Errorf("%s: %s wants to be stepped at %v, which is past: its runner would spin", s.d.Pos, name, at)
			}
			if len(effects) == 0 && len(m.done) == 0 {
				break
			}
		}
	}
}
