package it

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// The tests here hand a job over from version to version, through savepoints,
// while its operators come, go, move and change. The model of a version is the
// list of its operators, each with what it does to a record and to the state of
// its uid; the state of every uid is compared at every savepoint, and the output
// of each room at the end.

// fields are those of a record, or of a state, that have a value.
type fields map[string]int64

// operator is a step of a job file, and the model of it.
type operator struct {
	yaml string
	uid  string // "": it has no state
	key  string // a key step: records have this field as their key from here on
	// see makes records of a record; state, of one with a uid, is changed in
	// place, and empty where the key is new.
	see func(state, r fields) []fields
}

// world is the state of all operators: rows by uid and key.
type world map[string]map[int64]fields

// run takes a record through operators and returns what comes out.
func (w world) run(operators []operator, key string, r fields) (out []fields) {
	if len(operators) == 0 {
		return []fields{r}
	}
	o, rest := operators[0], operators[1:]
	if o.key != "" {
		return w.run(rest, o.key, r)
	}
	for _, made := range o.see(w.row(o.uid, r[key]), r) {
		out = append(out, w.run(rest, key, made)...)
	}
	return out
}

// row is the state of a key, made where it is new.
func (w world) row(uid string, key int64) fields {
	if uid == "" {
		return nil
	}
	if w[uid] == nil {
		w[uid] = map[int64]fields{}
	}
	if w[uid][key] == nil {
		w[uid][key] = fields{}
	}
	return w[uid][key]
}

func (w world) clone() world {
	copied := world{}
	for uid, rows := range w {
		copied[uid] = map[int64]fields{}
		for key, row := range rows {
			copied[uid][key] = maps.Clone(row)
		}
	}
	return copied
}

// with is a record with some fields changed or added.
func (r fields) with(changes fields) fields {
	changed := maps.Clone(r)
	maps.Copy(changed, changes)
	return changed
}

// process is a step with a state, that goes on with the record's room and floor,
// some more of its fields, and an n: set and n are as in the job file, see is the
// model of both.
func process(uid, state, set, n string, extra []string, see func(state, r fields) (n int64)) operator {
	names := append([]string{"room", "floor"}, extra...)
	return operator{
		uid: uid,
		yaml: fmt.Sprintf("- process: %s\n  state: {%s}\n  rules:\n    - set: {%s}\n      emit: {%s, n: %s}\n",
			uid, state, set, strings.Join(names, ", "), n),
		see: func(state, r fields) []fields {
			out := fields{"n": see(state, r)}
			for _, name := range names {
				out[name] = r[name]
			}
			return []fields{out}
		},
	}
}

// total goes on with the sum of all n so far, cut so that it does not commute with
// delta.
func total(uid string, extra ...string) operator {
	return process(uid, "n: long", "n: state.n + n", "state.n % 101", extra, func(state, r fields) int64 {
		state["n"] += r["n"]
		return state["n"] % 101
	})
}

// delta goes on with the difference to the n before.
func delta(uid string, extra ...string) operator {
	return process(uid, "last: long, by: long", "last: n, by: n - state.last", "state.by", extra, func(state, r fields) int64 {
		state["by"] = r["n"] - state["last"]
		state["last"] = r["n"]
		return state["by"]
	})
}

// count goes on with the n that came.
func count(uid string, extra ...string) operator {
	return process(uid, "seen: long", "seen: state.seen + 1", "n", extra, func(state, r fields) int64 {
		state["seen"]++
		return r["n"]
	})
}

// tale keeps the last text that is not empty, and goes on with the n that came.
func tale(uid string) operator {
	return process(uid, "text: string", "text: \"text == '' ? state.text : text\"", "n", nil, func(state, r fields) int64 {
		if _, had := state["text"]; !had || r["text"] != emptyText {
			state["text"] = r["text"]
		}
		return r["n"]
	})
}

// best is a reduce: its state is the first record, with the greatest n so far.
func best(uid string) operator {
	return operator{uid: uid, yaml: fmt.Sprintf("- reduce: %s\n  set: {n: \"math.greatest(a.n, b.n)\"}\n", uid), see: func(state, r fields) []fields {
		if len(state) == 0 {
			maps.Copy(state, r)
		}
		maps.DeleteFunc(state, func(name string, _ int64) bool { _, ok := r[name]; return !ok })
		for name := range r { // what it never had is zero
			if _, had := state[name]; !had && name == "text" {
				state[name] = emptyText
			} else if !had {
				state[name] = 0
			}
		}
		state["n"] = max(state["n"], r["n"])
		return []fields{maps.Clone(state)}
	}}
}

// plain is a step without a state.
func plain(yaml string, see func(r fields) []fields) operator {
	return operator{yaml: "- " + yaml + "\n", see: func(_, r fields) []fields { return see(r) }}
}

// keyed is a key step, behind which a stage begins.
func keyed(field string) operator {
	return operator{key: field, yaml: fmt.Sprintf("- key: %s\n  name: by-%s\n", field, field)}
}

const (
	evolvingRooms = 12
	roomsPerFloor = 3
)

// evolution is a job that is handed over from version to version.
type evolution struct {
	*job
	random    *rand.Rand
	rooms     []int               // those that have events
	text      string              // of the next record
	operators []operator          // of the version that runs, or ran last
	state     world               // where the job stands, as the model has it
	at        map[partition]int64 // nil: at the beginning
	last      string              // the savepoint where it stands
	want      map[int64][]fields  // the outputs of each room so far
}

func newEvolution(t *testing.T, name string, partitions int32, operators ...operator) *evolution {
	t.Helper()
	e := &evolution{
		job:    newJob(t, sharedKafka(t), options{Name: name + "-" + run.id, Partitions: partitions, Template: evolving(operators)}),
		random: rand.New(rand.NewPCG(run.seed, 11)), operators: operators, state: world{}, want: map[int64][]fields{},
	}
	for room := range evolvingRooms {
		e.rooms = append(e.rooms, room)
	}
	e.watch()
	return e
}

// branch is another job, that begins where this one stands, and has its input.
func (e *evolution) branch(name string, operators ...operator) *evolution {
	e.t.Helper()
	o := options{Name: name + "-" + run.id, In: e.In, Out: name + "-" + run.id + "-out", Partitions: e.Partitions, Template: evolving(operators), Existing: true}
	must(e.t, e.kafka.CreateTopic(within(e.t, time.Minute), o.Out, o.Partitions, nil))
	b := &evolution{job: newJob(e.t, e.kafka, o), random: e.random, rooms: e.rooms, operators: operators,
		state: e.state.clone(), at: e.at, last: e.path(e.last), want: map[int64][]fields{}}
	b.watch()
	return b
}

// path is the directory of a savepoint.
func (e *evolution) path(id string) string {
	return filepath.Join(filepath.Dir(e.file), "savepoints", id)
}

// evolving is the job file of a version.
func evolving(operators []operator) *template.Template {
	var steps strings.Builder
	for _, o := range operators {
		for line := range strings.Lines(o.yaml) {
			steps.WriteString("  " + line)
		}
	}
	return template.Must(template.New("evolving").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  fields: {room: int, floor: int, n: long, text: string}
  key: room
steps:
` + steps.String() + `output: {topic: {{.Out}}, key: room}
`))
}

// becomes writes the next version.
func (e *evolution) becomes(operators ...operator) {
	e.t.Helper()
	e.operators = operators
	e.write(evolving(operators))
}

// some produces a little input for every room.
func (e *evolution) some() {
	e.t.Helper()
	var records []*kgo.Record
	for range 10 {
		for _, room := range e.rooms {
			records = append(records, &kgo.Record{Topic: e.In, Key: fmt.Append(nil, room),
				Value: fmt.Appendf(nil, `{"room":%d,"floor":%d,"n":%d,"text":%q}`, room, room/roomsPerFloor, e.random.IntN(100), e.text)})
			e.text = ""
		}
	}
	must(e.t, e.kafka.Produce(within(e.t, time.Minute), records...))
}

// lives starts the version from where the job stands, lets it process some input,
// and stops it at the next savepoint.
func (e *evolution) lives(flags ...string) {
	e.t.Helper()
	e.stops(e.starts(flags...))
}

// starts starts the version from where the job stands.
func (e *evolution) starts(flags ...string) *kafkatest.Process {
	e.t.Helper()
	e.some()
	if e.last != "" {
		flags = append(flags, "--savepoint", e.last)
	}
	return e.start(flags...)
}

// stops stops the job at a savepoint, once it has processed its input.
func (e *evolution) stops(procs ...*kafkatest.Process) {
	e.t.Helper()
	e.waitDone(time.Minute)
	e.standsAt(e.take("savepoint-and-stop"))
	for _, p := range procs {
		if code := e.ends(p, 20*time.Second); code != 0 {
			e.t.Errorf("a process of the stopped job ended with %d", code)
		}
	}
}

// take takes a savepoint and returns its id.
func (e *evolution) take(command string, flags ...string) string {
	e.t.Helper()
	if command == "savepoint-and-stop" {
		e.waitArrived()
	}
	var result struct{ ID string }
	must(e.t, json.Unmarshal([]byte(e.output(command, append([]string{e.Name, "--json"}, flags...)...)), &result))
	return result.ID
}

// standsAt moves the model to a savepoint and compares its state with it.
func (e *evolution) standsAt(id string) {
	e.t.Helper()
	offsets := e.savedOffsets(id)
	must(e.t, e.goesTo(offsets))
	e.last = id
	must(e.t, sameWorld(e.rows(id), e.state))
}

// goesTo lets the model of the version that runs go on to offsets.
func (e *evolution) goesTo(offsets map[partition]int64) error {
	e.forget()
	for _, r := range e.read(e.In) {
		p := partition{r.Topic, r.Partition}
		if r.Offset < e.at[p] || r.Offset >= offsets[p] {
			continue
		}
		f, err := parseFields(r.Value)
		if err != nil {
			return err
		}
		for _, made := range e.state.run(e.operators, "room", f) {
			e.want[made["room"]] = append(e.want[made["room"]], made)
		}
	}
	e.at = offsets
	return nil
}

// forget drops the state of uids that the version does not have.
func (e *evolution) forget() {
	maps.DeleteFunc(e.state, func(uid string, _ map[int64]fields) bool {
		return !slices.ContainsFunc(e.operators, func(o operator) bool { return o.uid == uid })
	})
	for _, o := range e.operators {
		if o.uid != "" && e.state[o.uid] == nil {
			e.state[o.uid] = map[int64]fields{}
		}
	}
}

// parseFields reads an object whose values are whole numbers, texts, or null. A
// text stands for its hash.
func parseFields(text []byte) (fields, error) {
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return nil, fmt.Errorf("%w: %q", err, text)
	}
	f := fields{}
	for name, value := range values {
		switch value := value.(type) {
		case json.Number:
			n, err := value.Int64()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			f[name] = n
		case string:
			f[name] = textHash(value)
		case nil:
		default:
			return nil, fmt.Errorf("%s is a %T", name, value)
		}
	}
	return f, nil
}

var emptyText = textHash("")

func textHash(text string) int64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return int64(h.Sum64())
}

// rows reads the state of every uid of a savepoint through the commands.
func (e *evolution) rows(id string) world {
	e.t.Helper()
	var manifest struct{ Stores []struct{ UID string } }
	must(e.t, json.Unmarshal([]byte(e.output("savepoint-inspect", id, "--json")), &manifest))
	w := world{}
	for _, s := range manifest.Stores {
		w[s.UID] = map[int64]fields{}
		for line := range strings.Lines(e.output("savepoint-inspect", id, "--store", s.UID)) {
			var row struct {
				Key   int64
				Value json.RawMessage
			}
			must(e.t, json.Unmarshal([]byte(line), &row))
			value, err := parseFields(row.Value)
			must(e.t, err)
			w[s.UID][row.Key] = value
		}
	}
	return w
}

// sameWorld compares the state of every uid with the model.
func sameWorld(got, want world) error {
	var errs []error
	for uid := range union(got, want) {
		if got[uid] == nil || want[uid] == nil {
			errs = append(errs, fmt.Errorf("state of %s: %v, want %v", uid, got[uid], want[uid]))
		}
		for key := range union(got[uid], want[uid]) {
			if g, w := got[uid][key], want[uid][key]; !maps.Equal(g, w) || (g == nil) != (w == nil) {
				errs = append(errs, fmt.Errorf("state of %s, key %d: %v, want %v", uid, key, g, w))
			}
		}
	}
	return errors.Join(errs[:min(5, len(errs))]...)
}

// check compares the outputs of every room with the model.
func (e *evolution) check() {
	e.t.Helper()
	output := e.read(e.Out)
	must(e.t, sameOutputs(output, e.want))
	e.verifyReader(output)
	e.verifySettled()
	e.t.Logf("%d outputs", len(output))
}

func sameOutputs(output []*kgo.Record, want map[int64][]fields) error {
	got := map[int64][]fields{}
	for _, r := range output {
		f, err := parseFields(r.Value)
		if err != nil {
			return err
		}
		got[f["room"]] = append(got[f["room"]], f)
	}
	var errs []error
	for room := range union(got, want) {
		g, w := got[room], want[room]
		i := 0
		for i < min(len(g), len(w)) && maps.Equal(g[i], w[i]) {
			i++
		}
		if i < max(len(g), len(w)) {
			errs = append(errs, fmt.Errorf("room %d: %d outputs, want %d; from number %d on %v, want %v", room, len(g), len(w), i,
				g[i:min(i+3, len(g))], w[i:min(i+3, len(w))]))
		}
	}
	if len(want) == 0 {
		errs = append(errs, errors.New("the model expects no output: this proves nothing"))
	}
	return errors.Join(errs[:min(5, len(errs))]...)
}

// TestEvolutionAround keeps operators and changes everything around them: their
// order, the type of their records, operators before, between and after them, the
// number of stages.
func TestEvolutionAround(t *testing.T) {
	t.Parallel()
	e := newEvolution(t, "around", 2, total("total"), delta("delta"), best("best"))
	e.lives()

	// In another order.
	e.becomes(best("best"), delta("delta"), total("total"))
	e.lives()

	// Records have another field upstream, which becomes one of a reduce's state.
	week := plain("set: {w: n % 7}", func(r fields) []fields { return []fields{r.with(fields{"w": r["n"] % 7})} })
	e.becomes(week, delta("delta", "w"), best("best"), total("total", "w"))
	e.lives()

	// It is gone again. New operators, with a state and without, before, between
	// and after.
	odd := plain("filter: n % 5 != 1", func(r fields) (out []fields) {
		if r["n"]%5 != 1 {
			out = append(out, r)
		}
		return out
	})
	seven := plain("set: {n: n + 7}", func(r fields) []fields { return []fields{r.with(fields{"n": r["n"] + 7})} })
	e.becomes(odd, count("before"), delta("delta"), count("between"), seven, total("total"), best("best"), count("after"))
	e.lives()

	// Split in three by key steps, and a floor has a state of its own.
	e.becomes(count("before"), delta("delta"), keyed("floor"), count("floors"), keyed("room"),
		total("total"), count("between"), best("best"), count("after"))
	e.lives()

	// And merged back into one.
	e.becomes(count("before"), delta("delta"), total("total"), count("between"), best("best"), count("after"))
	e.lives("--drop", "floors")
	e.check()
}

// TestEvolutionUIDs removes operators with a state, renames them, and exchanges
// their uids.
func TestEvolutionUIDs(t *testing.T) {
	t.Parallel()
	e := newEvolution(t, "uids", 2, total("total"), delta("delta"), count("count"), count("twin"))
	e.lives()

	// One is removed, another one renamed.
	e.becomes(total("total"), delta("diff"), count("twin"))
	e.refuses(`refuse +store-missing +delta +12 .*"diff" has the same state type: if it is the same step, rename it back to "delta"`,
		`refuse +store-missing +count +12 .*give the step its uid "count" back, or drop the state`, `note +store-new +diff `)
	e.lives("--drop", "count", "--drop", "delta")
	e.historyHas("without the state of count, without the state of delta")

	// What was dropped is gone for good: it begins empty when it comes back.
	e.becomes(total("total"), delta("diff"), count("count"), count("twin"))
	e.lives()

	// Two of the same type have exchanged their uids: who would know? Two of
	// different types cannot.
	e.becomes(total("total"), delta("diff"), count("twin"), count("count"))
	p := e.starts()
	e.says(p, time.Minute, `level=WARN msg=".*count.* and .*twin.* have changed places and have the same state type.*rule=store-swapped`)
	e.stops(p)
	e.becomes(total("diff"), delta("total"), count("twin"), count("count"))
	e.refuses(`refuse +store-swapped +total +24 .*give the two steps their uids back`)
	e.becomes(delta("diff"), total("total"), count("twin"), count("count"))
	e.lives()
	e.check()
}

// refuses wants the verdict about a start of the version to have these lines,
// and a start to be refused before anything is touched.
func (e *evolution) refuses(lines ...string) {
	e.t.Helper()
	before := e.decided()
	stdout, stderr, code := e.command("savepoint-check", e.last, e.file)
	if code != exitRefused {
		e.t.Errorf("savepoint-check: exit code %d: %s%s", code, stdout, stderr)
	}
	for _, line := range lines {
		if !regexp.MustCompile("(?m)^" + line).MatchString(stdout) {
			e.t.Errorf("savepoint-check does not say %q:\n%s", line, stdout)
		}
	}
	p := e.start("--savepoint", e.last)
	e.wantEnd(p, exitRefused, "procd: ")
	if now := e.decided(); now != before {
		e.t.Errorf("a refused start has changed the job from\n%sto\n%s", before, now)
	}
}

// historyHas wants a text in the job's history.
func (e *evolution) historyHas(text string) {
	e.t.Helper()
	if said := e.output("history", e.Name); !strings.Contains(said, text) {
		e.t.Errorf("the history does not say %q:\n%s", text, said)
	}
}

// TestEvolutionCopies begins with a savepoint, takes one, begins with that, and
// so on: while the one before is removed, moved or copied, and the disk is lost;
// and then with two jobs of different names from one savepoint.
func TestEvolutionCopies(t *testing.T) {
	t.Parallel()
	e := newEvolution(t, "copies", 2, total("total"), delta("delta"))
	e.lives()

	// Removed, once it is not needed any more: then not even the disk is.
	base := e.last
	p := e.starts()
	e.waitDetached()
	e.output("savepoint-rm", base)
	e.interrupt(p)
	must(t, os.RemoveAll(e.data))
	e.some()
	e.stops(e.start("--savepoint", base))
	if exists(e.path(base)) {
		t.Errorf("%s is still there", base)
	}

	// Moved, and given another name.
	moved := filepath.Join(t.TempDir(), "moved")
	must(t, os.Rename(e.path(e.last), moved))
	e.last = moved
	e.becomes(delta("delta"), total("total"))
	e.lives()

	// Copied; another job goes on from there too, at the same time.
	copied := filepath.Join(t.TempDir(), "copied")
	must(t, os.CopyFS(copied, os.DirFS(e.path(e.last))))
	must(t, os.RemoveAll(e.data))
	other := e.branch("copies-2", count("count"), total("total"), delta("delta"))
	e.last = copied
	e.becomes(total("total"), delta("delta"), count("count"))
	first, second := e.starts(), other.starts()
	e.waitMembers(1)
	other.waitMembers(1)
	e.stops(first)
	other.some()
	other.stops(second)
	e.check()
	other.check()
}

// waitDetached waits until the job does not need its savepoint any more.
func (e *evolution) waitDetached() {
	e.t.Helper()
	e.eventually(time.Minute, func() error {
		if status := e.output("status", e.Name); !strings.Contains(status, "is detached from it") {
			return fmt.Errorf("status: %s", status)
		}
		return nil
	})
}

// TestEvolutionProcesses changes the number of processes and of their workers
// with every version: what is on a disk already, and what is not, is read.
func TestEvolutionProcesses(t *testing.T) {
	t.Parallel()
	one := []operator{total("total"), count("count"), delta("delta")}
	two := []operator{total("total"), keyed("floor"), count("floors"), keyed("room"), count("count"), delta("delta")}
	e := newEvolution(t, "processes", 4, one...)
	for _, version := range []struct {
		operators []operator
		disks     []int
		workers   int
		flags     []string
	}{
		{one, []int{0}, 3, nil},
		{two, []int{0, 1, 2}, 1, nil},
		{one, []int{2, 3}, 2, []string{"--drop", "floors"}},
	} {
		e.becomes(version.operators...)
		settings := filepath.Join(filepath.Dir(e.file), "procd.yaml")
		must(t, os.WriteFile(settings, fmt.Appendf(nil, "workers: %d\n", version.workers), 0o644))
		flags := append(version.flags, "--config", settings)
		if e.last != "" {
			flags = append(flags, "--savepoint", e.last)
		}
		e.some()
		var procs []*kafkatest.Process
		for _, disk := range version.disks {
			procs = append(procs, e.startIn(fmt.Sprintf("%s-%d", e.data, disk), flags...))
			e.says(procs[0], time.Minute, "msg=running") // the others join it
		}
		e.waitMembers(len(procs))
		e.some()
		e.stops(procs...)
	}
	e.check()
}

// TestEvolutionUnsettled takes savepoints while a process joins, while one leaves,
// while the state is restored, and while records are processed again. What is
// saved is the model's state; what is not has a reason, and the job goes on.
func TestEvolutionUnsettled(t *testing.T) {
	t.Parallel()
	e := newEvolution(t, "unsettled", 2, total("total"), keyed("floor"), count("floors"), keyed("room"), delta("delta"))
	asked, saved := 0, 0
	during := func(what string, happens func()) {
		t.Helper()
		e.some()
		id := savepointID(asked)
		asked++
		ask := e.launch(e.kafka.address, "savepoint", e.Name, "--id", id)
		happens()
		switch code := e.ends(ask, time.Minute); {
		case code == 0:
			e.standsAt(id)
			saved++
		case code != 1 || !strings.Contains(ask.Stderr.String(), "procd: savepoint "+id+" failed"):
			t.Errorf("%s: exit code %d: %s", what, code, ask.Stderr)
		default:
			t.Logf("%s: %s", what, ask.Stderr)
		}
	}
	p := e.start()
	e.waitMembers(1)
	var second *kafkatest.Process
	during("a process joins", func() { second = e.startIn(e.data + "-b") })
	e.waitMembers(2)
	during("a process leaves", func() { e.interrupt(second) })
	e.waitMembers(1)
	e.some()
	e.standsAt(e.take("savepoint"))
	older, state, at := e.last, e.state.clone(), e.at
	e.some()
	e.interrupt(p)
	must(t, os.RemoveAll(e.data))
	during("state is restored", func() { p = e.start() })
	e.stops(p)

	// Back, and a savepoint on the way.
	e.last, e.state, e.at = older, state, at
	p = e.start("--savepoint", older)
	e.says(p, time.Minute, "msg=running")
	during("records are processed again", func() {})
	e.stops(p)
	t.Logf("%d of %d were saved", saved, asked)
	e.check()
}

// TestEvolutionExtremes has a partition without a record, a store without a row,
// and a row of a megabyte, in version after version.
func TestEvolutionExtremes(t *testing.T) {
	t.Parallel()
	none := plain("filter: n < 0", func(fields) []fields { return nil })
	e := newEvolution(t, "extremes", 3, tale("text"), total("total"), none, count("never"))
	e.rooms = slices.DeleteFunc(e.rooms, func(room int) bool {
		r := &kgo.Record{Key: fmt.Append(nil, room)}
		return kgo.StickyKeyPartitioner(nil).ForTopic(e.In).Partition(r, 3) == 2
	})
	e.text = strings.Repeat("a long story. ", 900_000/14)
	e.lives()
	e.becomes(total("total", "text"), tale("text"), count("count"), none, count("never"))
	e.lives()
	e.becomes(tale("text"), total("total"), count("count"), count("never"))
	e.lives()
	e.rooms = nil
	for room := range evolvingRooms {
		e.rooms = append(e.rooms, room)
	}
	must(t, os.RemoveAll(e.data))
	e.lives()
	e.check()
}

// TestEvolutionGap begins with a savepoint whose topic has lost records since:
// the verdict says how many of what age, and a start that accepts it goes on
// behind them, and says so for ever.
func TestEvolutionGap(t *testing.T) {
	t.Parallel()
	e := newEvolution(t, "gap", 2, total("total"), delta("delta"))
	e.lives()
	e.some()
	cut, lost := kadm.Offsets{}, int64(0)
	for p, at := range e.at {
		n := 1 + e.random.Int64N(30)
		cut.AddOffset(p.topic, p.n, at+n, -1)
		lost += n
	}
	deleted, err := e.kafka.Admin.DeleteRecords(within(t, time.Minute), cut)
	must(t, errors.Join(err, deleted.Error()))
	var lines []string
	for p, at := range e.at {
		o, _ := cut.Lookup(p.topic, p.n)
		lines = append(lines, fmt.Sprintf(`refuse +offsets-lost +%s/%d +%d +retention has removed %d records? .*offsets %d to %d \(savepoint of 20\S+Z\)`,
			p.topic, p.n, o.At-at, o.At-at, at, o.At-1))
	}
	e.refuses(lines...)
	p := e.starts("--accept-gap")
	e.says(p, time.Minute, `level=WARN msg="\d+ records? of .*/0, .* skipped: retention has removed them" rule=gap-accepted`)
	skipped := fmt.Sprintf(", %d records skipped", lost)
	e.historyHas(e.last + skipped)
	if status := e.output("status", e.Name); !strings.Contains(status, "began with savepoint "+e.last+skipped) {
		t.Errorf("the status does not say %q:\n%s", skipped, status)
	}
	e.stops(p)
	e.lives()
	e.check()
}

// TestEvolutionBroken begins with savepoints that are not there, or that a later
// procd has written, and takes one that cannot be completed: the job stays, or
// goes on, where it is.
func TestEvolutionBroken(t *testing.T) {
	t.Parallel()
	e := newEvolution(t, "broken", 2, total("total"))
	e.lives()
	before := e.decided()
	newer := filepath.Join(t.TempDir(), "newer")
	must(t, os.CopyFS(newer, os.DirFS(e.path(e.last))))
	manifest := filepath.Join(newer, "manifest.json")
	text, err := os.ReadFile(manifest)
	must(t, err)
	must(t, os.WriteFile(manifest, bytes.Replace(text, []byte(`"format_version": 1`), []byte(`"format_version": 2`), 1), 0o644))
	for _, s := range []struct {
		savepoint, says string
		code            int
	}{
		{savepointID(1), savepointID(1), exitNotFound},
		{filepath.Join(t.TempDir(), "nothing"), "nothing", exitNotFound},
		{newer, "written by a newer version of procd", exitRefused},
	} {
		e.wantEnd(e.start("--savepoint", s.savepoint), s.code, s.says)
	}
	if now := e.decided(); now != before {
		t.Errorf("refused starts have changed the job from\n%sto\n%s", before, now)
	}

	// Nobody can rename a directory to one that has something in it.
	p := e.starts()
	e.waitDone(time.Minute)
	for i, command := range []string{"savepoint", "savepoint-and-stop"} {
		id := savepointID(2 + i)
		must(t, os.MkdirAll(filepath.Join(e.path(id), "in the way"), 0o755))
		_, said, code := e.command(command, e.Name, "--id", id)
		if code != 1 {
			t.Errorf("%s: exit code %d", command, code)
		}
		wantTexts(t, said, id+" failed", "exists already", filepath.Dir(e.path(id)), "the job goes on")
		e.some()
		e.waitDone(time.Minute)
		if state := e.job.state(); state != "RUNNING" {
			t.Errorf("after a %s that failed the job is %s", command, state)
		}
	}
	e.stops(p)
	e.lives()
	e.check()

	// The first format, in both forms.
	for _, form := range []string{"native", "portable"} {
		dir, err := filepath.Abs("../savepoint/testdata/format1/" + form)
		must(t, err)
		e.output("savepoint-verify", dir)
	}
}

// TestEvolutionModelSeesFaults breaks on purpose what the model compares.
func TestEvolutionModelSeesFaults(t *testing.T) {
	input := []fields{{"room": 1, "floor": 0, "n": 5}, {"room": 2, "floor": 0, "n": 6}, {"room": 1, "floor": 0, "n": 99}, {"room": 2, "floor": 0, "n": 1}}
	through := func(operators ...operator) (world, map[int64][]fields) {
		w, want := world{}, map[int64][]fields{}
		for _, r := range input {
			for _, made := range w.run(operators, "room", r) {
				want[made["room"]] = append(want[made["room"]], made)
			}
		}
		return w, want
	}
	state, want := through(total("total"), keyed("floor"), count("floors"), keyed("room"), delta("delta"), best("best"))
	if n := state["floors"][0]["seen"]; n != 4 || state["total"][1]["n"] != 104 || state["delta"][2]["by"] != 1 || state["best"][1]["n"] != 5 {
		t.Fatalf("%v", state)
	}
	write := func(want map[int64][]fields) (output []*kgo.Record) {
		for _, room := range want {
			for _, f := range room {
				value, err := json.Marshal(f)
				must(t, err)
				output = append(output, &kgo.Record{Value: value})
			}
		}
		return output
	}
	output := write(want)
	must(t, errors.Join(sameWorld(state.clone(), state), sameOutputs(output, want)))
	_, reordered := through(delta("delta"), total("total"), best("best"))
	if sameOutputs(write(reordered), want) == nil || sameOutputs(output[1:], want) == nil || sameOutputs(append(output, output[0]), want) == nil {
		t.Error("operators in another order, an output lost or doubled: not seen")
	}
	for what, breaks := range map[string]func(w world){
		"a value":        func(w world) { w["total"][1]["n"]++ },
		"a field":        func(w world) { delete(w["delta"][1], "by") },
		"a row lost":     func(w world) { delete(w["total"], 1) },
		"a row too much": func(w world) { w["total"][3] = fields{} },
		"a store lost":   func(w world) { delete(w, "floors") },
		"a store more":   func(w world) { w["other"] = map[int64]fields{} },
	} {
		broken := state.clone()
		breaks(broken)
		if sameWorld(broken, state) == nil {
			t.Errorf("%s: not seen", what)
		}
	}
}
