package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// scenario runs a text file of testdata. Rewrite the expectations with
//
//	go test ./internal/control -run TestDecide -rewrite
//
// and review them as text.
type scenario struct {
	view        View
	definitions map[string]Definition
	candidates  map[string]Candidate
	definition  Definition // of the last start
	verdict     Verdict    // of the last start
	writes      int
}

func TestDecide(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{definitions: make(map[string]Definition), candidates: make(map[string]Candidate)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "define":
				return s.define(t, d)
			case "savepoint":
				return s.savepoint(t, d)
			case "inherit":
				return s.inherit(t, d)
			case "reached":
				return reachedText(t, d)
			case "start":
				return s.start(t, d)
			case "write":
				return s.write(t)
			case "state":
				return s.state(t, d)
			case "apply":
				return s.apply(d)
			case "topics":
				return s.topics(t, d)
			}
			t.Fatalf("%s: no command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

// define takes lines of `source TOPIC`, `stage ID INPUT...` (an input in
// parentheses is a repartition topic) and `store UID STAGE KEYTYPE SCHEMA`.
func (s *scenario) define(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	hash := d.CmdArgs[0].Key
	def := Definition{Hash: hash, Text: "plan of " + hash}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		switch f[0] {
		case "source":
			def.Sources = append(def.Sources, SourceDefinition{Topic: f[1], Start: topology.Start{}})
		case "stage":
			stage := StageDefinition{ID: f[1]}
			for _, in := range f[2:] {
				if name, ok := strings.CutPrefix(in, "("); ok {
					stage.Repartitions = append(stage.Repartitions, strings.TrimSuffix(name, ")"))
				} else {
					stage.Sources = append(stage.Sources, in)
				}
			}
			def.Stages = append(def.Stages, stage)
		case "store":
			def.Stores = append(def.Stores, StoreDefinition{
				UID: f[1], Stage: f[2], KeyType: f[3], Schema: strings.Join(f[4:], " "),
			})
		default:
			t.Fatalf("%s: no line %q", d.Pos, line)
		}
	}
	s.definitions[hash] = def
	return "defined"
}

// savepoint takes a name, `[id=ID] [job=JOB] [generation=G] [portable]`, and lines of
// `store UID KEYTYPE CURRENT SCHEMA...`, the schemas separated by |. The name
// is also its checksum.
func (s *scenario) savepoint(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	name := d.CmdArgs[0].Key
	m := &savepoint.Manifest{ID: name, Job: "job", Generation: 1, Form: savepoint.Native}
	d.MaybeScanArgs(t, "id", &m.ID)
	d.MaybeScanArgs(t, "job", &m.Job)
	if d.HasArg("portable") {
		m.Form = savepoint.Portable
	}
	d.MaybeScanArgs(t, "generation", &m.Generation)
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		store := savepoint.Store{UID: f[1], KeyType: f[2]}
		if _, err := fmt.Sscan(f[3], &store.Current); err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		for i, schema := range strings.Split(strings.Join(f[4:], " "), "|") {
			if schema != "" {
				store.Versions = append(store.Versions, savepoint.Version{Version: i + 1, Schema: schema})
			}
		}
		m.Stores = append(m.Stores, store)
	}
	s.candidates[name] = Candidate{Manifest: m, Ref: SavepointRef{
		ID: m.ID, SHA256: name, Path: "/savepoints/" + m.ID, Form: m.Form, Job: m.Job, Generation: m.Generation,
	}}
	return "saved"
}

// inherit merges frontiers of one topic, `events` with id 1 (P10): lines of
// `sources ID N`, `savepoint ID N...`, `previous ID N...` and `committed N...`.
func (s *scenario) inherit(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	m := &savepoint.Manifest{}
	var previous Generation
	committed := make(Offsets)
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		var numbers []int64
		for _, field := range f[1:] {
			var n int64
			if _, err := fmt.Sscan(field, &n); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			numbers = append(numbers, n)
		}
		switch f[0] {
		case "savepoint":
			id, at := TopicID{byte(numbers[0])}, numbers[1:]
			m.Sources = []savepoint.Topic{{Name: "events", ID: id.String(), Partitions: int32(len(at))}}
			for i, offset := range at {
				m.Tasks = append(m.Tasks, savepoint.Task{Frontiers: []kstate.SourceOffset{{Topic: "events", Partition: int32(i), Offset: offset}}})
			}
		case "previous":
			at := numbers[1:]
			previous.Sources = []TopicRef{{Name: "events", ID: TopicID{byte(numbers[0])}, Partitions: int32(len(at))}}
			previous.Frontiers = Offsets{"events": at}
		case "committed":
			committed["events"] = numbers
		}
	}
	sources := []TopicRef{{Name: "events", ID: TopicID{1}, Partitions: 3}}
	return fmt.Sprint(inherit(sources, m, previous, committed)["events"])
}

// start decides: `start HASH [resume] [waited] [removed] [live=(a,b)]
// [savepoint=NAME|none] [latest] [again] [seen=RUN]`.
func (s *scenario) start(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	def, ok := s.definitions[d.CmdArgs[0].Key]
	if !ok {
		t.Fatalf("%s: %s is not defined", d.Pos, d.CmdArgs[0].Key)
	}
	f := Facts{
		Definition: def, Resume: d.HasArg("resume"), Waited: d.HasArg("waited"),
		Removed: d.HasArg("removed"), Again: d.HasArg("again"), Run: s.view.State().Run,
	}
	d.MaybeScanArgs(t, "seen", &f.Run)
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "live":
			f.Live = arg.Vals
		case "savepoint":
			from := s.candidates[arg.Vals[0]] // none: no such savepoint
			from.Latest = d.HasArg("latest")
			if d.HasArg("gone") {
				from.Manifest = nil
			}
			f.From = &from
		}
	}
	s.definition, s.verdict = def, Decide(&s.view, f)
	return s.verdict.text()
}

// text is a verdict as the scenarios show it.
func (v Verdict) text() string {
	var b strings.Builder
	b.WriteString(string(v.Action))
	switch v.Action {
	case Refuse:
		fmt.Fprintf(&b, "\nreason: %s\nhint: %s", v.Refusal.Reason, v.Refusal.Hint)
	case Wait:
		fmt.Fprintf(&b, " for %s", v.Reason)
	case Remove:
		fmt.Fprintf(&b, " %s", strings.Join(v.Members, ", "))
	default:
		fmt.Fprintf(&b, " generation=%d revision=%d run=%d", v.Generation, v.Revision, v.Run)
		if v.From != nil {
			fmt.Fprintf(&b, " from savepoint %s of job %s", v.From.Ref.ID, v.From.Ref.Job)
		}
		if v.Reason != "" {
			fmt.Fprintf(&b, "\nreason: %s", v.Reason)
		}
		for _, st := range v.Stores {
			fmt.Fprintf(&b, "\nstore %s: key %s, writes version %d of %d", st.UID, st.KeyType, st.Current, len(st.Versions))
		}
	}
	return b.String()
}

// write applies what the last verdict writes, as a reader would see it.
func (s *scenario) write(t *testing.T) string {
	t.Helper()
	s.writes++
	at := time.Date(2026, 11, 22, 12, s.writes, 0, 0, time.UTC)
	current, _ := s.view.Current()
	begun := generationFor(s.verdict, s.definition, "job", origin{at: at, by: "ann@host"})
	entries, err := s.verdict.entries(s.definition, current, begun, origin{at: at, by: "ann@host"})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range entries {
		if err := s.view.Apply([]byte(e.key), e.value); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.key)
	}
	return strings.Join(keys, "\n")
}

// generationFor is the record of a Create without what only a cluster knows.
func generationFor(v Verdict, d Definition, job string, o origin) Generation {
	g := newGeneration(v, d, job, o)
	for _, st := range d.Stages {
		g.Stages = append(g.Stages, StageRef{ID: st.ID, Inputs: kafkaInputs(g, st), Partitions: 4})
	}
	for _, src := range d.Sources {
		g.Sources = append(g.Sources, TopicRef{Name: src.Topic, ID: TopicID{1}, Partitions: 4})
	}
	for _, store := range d.Stores {
		g.Topics = append(g.Topics, TopicRef{Name: ChangelogTopic(job, v.Generation, store.UID), ID: TopicID{2}, Partitions: 4})
	}
	return g
}

// state writes a state record: `state STOPPED|RESET [savepoint=ID]`.
func (s *scenario) state(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	s.writes++
	st := s.view.State()
	st.State = RunState(d.CmdArgs[0].Key)
	d.MaybeScanArgs(t, "savepoint", &st.Savepoint)
	st.At = time.Date(2026, 11, 22, 12, s.writes, 0, 0, time.UTC)
	st.By = "bob@host"
	value, err := encode(st)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.view.Apply([]byte(keyState), value); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s generation=%d run=%d", st.State, st.Generation, st.Run)
}

// apply applies raw records: a key, a space, and the value (none: tombstone).
func (s *scenario) apply(d *datadriven.TestData) string {
	for line := range strings.Lines(d.Input) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var v []byte
		if value != "" {
			v = []byte(value)
		}
		if err := s.view.Apply([]byte(key), v); err != nil {
			return "error: " + err.Error()
		}
	}
	return "ok"
}

// topics checks what a cluster has against the current generation: lines of
// `NAME ID PARTITIONS [POLICY]`.
func (s *scenario) topics(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	found := make(map[string]foundTopic)
	for line := range strings.Lines(d.Input) {
		var name, policy string
		var id byte
		var partitions int32
		if n, _ := fmt.Sscan(line, &name, &id, &partitions, &policy); n < 3 {
			t.Fatalf("%s: %q", d.Pos, line)
		}
		found[name] = foundTopic{ID: TopicID{id}, Partitions: partitions, Policy: policy}
	}
	c, _ := s.view.Current()
	if refused := checkTopics(c.Generation, found); refused != nil {
		return fmt.Sprintf("refuse\nreason: %s\nhint: %s", refused.Reason, refused.Hint)
	}
	return "ok"
}
