package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

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
	definition  Definition // of the last start
	verdict     Verdict    // of the last start
	writes      int
}

func TestDecide(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{definitions: make(map[string]Definition)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "define":
				return s.define(t, d)
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

// start decides: `start HASH [resume] [waited] [live=(a,b)]`.
func (s *scenario) start(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	def, ok := s.definitions[d.CmdArgs[0].Key]
	if !ok {
		t.Fatalf("%s: %s is not defined", d.Pos, d.CmdArgs[0].Key)
	}
	f := Facts{Definition: def, Resume: d.HasArg("resume"), Waited: d.HasArg("waited")}
	for _, arg := range d.CmdArgs {
		if arg.Key == "live" {
			f.Live = arg.Vals
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
	default:
		fmt.Fprintf(&b, " generation=%d revision=%d run=%d", v.Generation, v.Revision, v.Run)
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

// state writes a state record: `state STOPPED|RESET`.
func (s *scenario) state(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	s.writes++
	st := s.view.State()
	st.State = RunState(d.CmdArgs[0].Key)
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
