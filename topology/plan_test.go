package topology_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

func mustPlan(t *testing.T, j *topology.Job) *topology.Plan {
	t.Helper()
	p, err := j.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlan(t *testing.T) {
	job := tallyJob().With(topology.Definition("text"))
	p := mustPlan(t, job)
	if p.Job != "tally" || p.Definition != "text" || len(p.Hash) != 64 {
		t.Errorf("plan %+v", p)
	}
	topics := []topology.Topic{
		{Name: "alarm-events", Kind: topology.SourceTopic, Partitioner: topology.Murmur2},
		{Name: "by-minute", Kind: topology.RepartitionTopic, Partitioner: topology.Murmur2},
		{Name: "alarms", Kind: topology.OutputTopic, Partitioner: topology.Murmur2},
		{Name: "tallies", Kind: topology.OutputTopic, Partitioner: topology.Murmur2},
	}
	if !slices.Equal(p.Topics, topics) {
		t.Errorf("topics %v", p.Topics)
	}
	if len(p.Stages) != 2 || p.Stages[0].ID != "in:alarm-events" || p.Stages[1].ID != "by:by-minute" {
		t.Fatalf("stages %+v", p.Stages)
	}
	first, second := p.Stages[0], p.Stages[1]
	if !slices.Equal(first.Stores, []string{"arm"}) || !slices.Equal(second.Stores, []string{"sum"}) ||
		!slices.Equal(first.Outputs, []int{1, 2}) || !slices.Equal(second.Outputs, []int{3}) {
		t.Errorf("stages %+v, %+v", first, second)
	}
	source := &topology.SourceSpec{
		Start: topology.Start{Kind: topology.StartEarliest}, Empty: topology.Fail, Partitioner: topology.Murmur2, KeyField: true, EventTime: true,
	}
	if !reflect.DeepEqual(first.Inputs, []topology.Input{{Topic: 0, Source: source, OnBadRecord: topology.Fail}}) {
		t.Errorf("inputs %+v", first.Inputs)
	}
	if !reflect.DeepEqual(second.Inputs, []topology.Input{{Topic: 1, OnBadRecord: topology.Fail}}) {
		t.Errorf("inputs %+v", second.Inputs)
	}
	if len(p.Stores) != 2 || p.Stores[0] != (topology.StoreSpec{UID: "arm", Stage: "in:alarm-events", KeyType: "int", Schema: codec.State[armed]().Schema()}) ||
		p.Stores[1].Stage != "by:by-minute" || p.Stores[1].KeyType != "int" {
		t.Errorf("stores %+v", p.Stores)
	}
}

func TestDeadLettersInPlan(t *testing.T) {
	p := mustPlan(t, alarmJob(topology.OnBadRecord(topology.DeadLetter("dead"))))
	want := topology.Topic{Name: "dead", Kind: topology.DeadLetterTopic, Partitioner: topology.Murmur2}
	if len(p.Topics) != 3 || p.Topics[1] != want || !slices.Equal(p.Stages[0].Outputs, []int{1, 2}) {
		t.Errorf("topics %v, outputs %v", p.Topics, p.Stages[0].Outputs)
	}
}

// Whatever makes two processes compute differently makes their plans differ.
func TestHash(t *testing.T) {
	hashes := make(map[string]string)
	add := func(what string, j *topology.Job) {
		h := mustPlan(t, j).Hash
		if before, ok := hashes[h]; ok {
			t.Errorf("%s has the hash of %s", what, before)
		}
		hashes[h] = what
	}
	add("alarm", alarmJob())
	add("skip", alarmJob(topology.OnBadRecord(topology.Skip)))
	add("dead letters", alarmJob(topology.OnBadRecord(topology.DeadLetter("x"))))
	add("empty", alarmJob(topology.EmptyValues(topology.Skip)))
	add("partitioner", alarmJob(topology.PartitionedWith(topology.FNV)))
	add("start", alarmJob(topology.StartAt(topology.Start{Kind: topology.StartLatest})))
	add("start ago", alarmJob(topology.StartAt(topology.Start{Kind: topology.StartAgo, Ago: time.Hour})))
	add("definition", alarmJob().With(topology.Definition("x")))
	add("tally", tallyJob())
	for _, name := range []string{"a", "b"} {
		job := topology.New(name)
		topology.To(topology.Process(topology.From(job, "in", codec.String()), "step", obey), "out", codec.String())
		add("job "+name, job)
	}
	job := topology.New("a")
	topology.To(topology.Process(topology.From(job, "in", codec.String()), "step", func(topology.Ctx[armed, string], string) {}), "out", codec.String())
	add("schema", job)
	if once, again := mustPlan(t, tallyJob()), mustPlan(t, tallyJob()); once.Hash != again.Hash {
		t.Error("a plan's hash is not stable")
	}
}

type unstorable struct{ f func() }

// All that is wrong is said at once; each part names the step and a way out.
func TestPlanErrors(t *testing.T) {
	pass := func(v string) string { return v }
	from := func(j *topology.Job, opts ...topology.SourceOption) topology.Stream[string] {
		return topology.From(j, "in", codec.String(), opts...)
	}
	for _, test := range []struct {
		name  string
		build func(j *topology.Job)
		want  []string
	}{
		{"nothing", func(*topology.Job) {}, []string{`job "job" reads no topic; start with From`}},
		{"no uid", func(j *topology.Job) { topology.Process(from(j), "", obey) },
			[]string{`Process after From "in" has no uid; give it one`}},
		{"bad uid", func(j *topology.Job) { topology.Process(from(j), "Arm_1", obey) },
			[]string{`Process "Arm_1": the uid does not match`}},
		{"long uid", func(j *topology.Job) { topology.Process(from(j), strings.Repeat("x", 64), obey) },
			[]string{`the uid does not match`}},
		{"two uids", func(j *topology.Job) {
			s := from(j)
			topology.Process(s, "a", obey)
			topology.Reduce(s, "a", func(a, _ string) string { return a })
		}, []string{`Reduce "a": the uid is taken by Process "a"; each needs its own`}},
		{"uid and key name", func(j *topology.Job) {
			topology.Process(topology.KeyBy(from(j), "a", pass, codec.String()), "a", obey)
		}, []string{`Process "a": the uid is taken by KeyBy "a"`}},
		{"no key name", func(j *topology.Job) { topology.KeyBy(from(j), "", pass, codec.String()) },
			[]string{`KeyBy after From "in" has no name`, `KeyBy after From "in": nothing takes its stream; write it with To`}},
		{"nil functions", func(j *topology.Job) {
			s := from(j)
			s = topology.Map[string, string](s, nil)
			s = topology.Filter(s, nil)
			s = topology.FlatMap[string](s, nil)
			s = topology.FlatMapPer[string](s, nil)
			s = topology.Process[string, string](s, "a", nil)
			s = topology.ProcessPer[string, string](s, "b", nil)
			s = topology.Reduce(s, "c", nil)
			s = topology.ReducePer(s, "d", nil)
			s = topology.KeyBy[string, string](s, "e", nil, codec.String())
			s = topology.KeyByPer[string, string](s, "f", nil, codec.String())
			topology.To(s, "out", nil)
		}, []string{"Map after From", "Filter after Map", "FlatMap after Filter", "FlatMapPer after FlatMap", `Process "a"`, `Process "b"`,
			`Reduce "c"`, `Reduce "d"`, `KeyBy "e"`, `KeyBy "f"`, `To "out": the codec is nil`}},
		{"unused", func(j *topology.Job) { topology.Map(from(j), pass) },
			[]string{`Map after From "in": nothing takes its stream; write it with To, or remove the step`}},
		{"read twice", func(j *topology.Job) {
			topology.To(from(j), "a", codec.String())
			topology.To(from(j), "b", codec.String())
		},
			[]string{`From "in": the topic is read twice`}},
		{"read and written", func(j *topology.Job) { topology.To(from(j), "in", codec.String()) },
			[]string{`To "in": the job reads this topic too`}},
		{"dead letters among others", func(j *topology.Job) {
			topology.To(from(j, topology.OnBadRecord(topology.DeadLetter("in"))), "out", codec.String())
		}, []string{`From "in": dead letter topic "in" is also read or written`}},
		{"topic names", func(j *topology.Job) {
			s := topology.From(j, "a b", codec.String(), topology.OnBadRecord(topology.DeadLetter("")))
			topology.To(s, "..", codec.String())
		}, []string{`"a b" is no topic name`, `"" is no topic name`, `".." is no topic name`}},
		{"internal topics", func(j *topology.Job) {
			topology.To(from(j, topology.OnBadRecord(topology.DeadLetter("procd.x.control"))), "procd.x.g1.positions", codec.String())
		}, []string{`write to another one than "procd.x.control"`, `write to another one than "procd.x.g1.positions"`}},
		{"partitioners", func(j *topology.Job) {
			s := from(j, topology.PartitionedWith("md5"))
			topology.To(s, "out", codec.String(), topology.PartitionedWith("sha"))
			topology.To(s, "both", codec.String())
			topology.To(s, "both", codec.String(), topology.PartitionedWith(topology.FNV))
		}, []string{`From "in": no partitioner "md5"; use murmur2`, `To "out": no partitioner "sha"`, `To "both": written with partitioner fnv here and murmur2 elsewhere`}},
		{"policies", func(j *topology.Job) {
			topology.To(from(j, topology.OnBadRecord("ignore"), topology.EmptyValues(topology.DeadLetter("x"))), "out", codec.String())
		}, []string{`no policy "ignore" for bad records`, `no policy "dead-letter:x" for records without a value`}},
		{"starts", func(j *topology.Job) {
			for topic, s := range map[string]topology.Start{"a": {Kind: "noon"}, "b": {Kind: topology.StartAgo}, "c": {Kind: topology.StartAtTime, Time: -1}} {
				topology.ToStdout(topology.From(j, topic, codec.String(), topology.StartAt(s)), codec.String())
			}
		}, []string{`From "a": no start "noon"`, `From "b": starts 0s ago`, `From "c": starts before 1970`}},
		{"out of order", func(j *topology.Job) {
			topology.ToStdout(from(j, topology.EventTime(func(string) int64 { return 0 }, -time.Second)), codec.String())
		}, []string{`out-of-order is -1s; it cannot be negative`}},
		{"types of options", func(j *topology.Job) {
			s := from(j, topology.PartitionedBy(room), topology.EventTime(when, 0))
			topology.To(s, "out", codec.String(), topology.KeyedBy(room))
			topology.Process(s, "a", obey, topology.StateAs[int64](codec.State[int64]()))
		}, []string{`From "in": PartitionedBy takes another type than the stream's, string`, `From "in": EventTime takes another type than the stream's, string`,
			`To "out": KeyedBy takes another type than the stream's, string`, `Process "a": StateAs is for another type than the step's state, string`}},
		{"types", func(j *topology.Job) {
			s := topology.From(j, "in", codec.Avro[chan int]())
			topology.Process(s, "a", func(topology.Ctx[unstorable, int], chan int) {})
			topology.Reduce(s, "b", func(a, _ chan int) chan int { return a })
		}, []string{`From "in": procd/codec: unsuitable type`, `Process "a": procd/codec: unsuitable type`, `Reduce "b": procd/codec: unsuitable type`}},
	} {
		job := topology.New("job")
		test.build(job)
		_, err := job.Plan()
		if err == nil {
			t.Errorf("%s: accepted", test.name)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		for _, w := range test.want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, w) }) {
				t.Errorf("%s: %q lacks %q", test.name, lines, w)
			}
		}
		if test.name != "nil functions" && test.name != "starts" && len(lines) != len(test.want) {
			t.Errorf("%s: %d errors, want %d: %q", test.name, len(lines), len(test.want), lines)
		}
	}
	_ = unstorable{}.f // read nowhere else
}

func TestJobNames(t *testing.T) {
	for name, want := range map[string]string{
		"": "does not match", "Alarm": "does not match", "-a": "does not match", strings.Repeat("a", 64): "does not match", "a.b": "does not match",
		"ls": "is a word", "rm": "is a word", "inspect": "is a word", "verify": "is a word", "check": "is a word", "export": "is a word",
		"a": "", "0-a": "", strings.Repeat("a", 63): "", "list": "",
	} {
		job := topology.New(name)
		topology.ToStdout(topology.From(job, "in", codec.String()), codec.String())
		_, err := job.Plan()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

func TestStartText(t *testing.T) {
	for want, s := range map[string]topology.Start{
		"earliest": {}, "latest": {Kind: topology.StartLatest}, "1h0m0s": {Kind: topology.StartAgo, Ago: time.Hour},
		"1970-01-01T00:00:01Z": {Kind: topology.StartAtTime, Time: 1000},
	} {
		if s.String() != want {
			t.Errorf("%+v: %s, want %s", s, s, want)
		}
	}
}

func TestNewTaskErrors(t *testing.T) {
	p := mustPlan(t, alarmJob())
	for _, env := range []topology.TaskEnv{{Partition: 1, Partitions: 1}, {Partition: -1, Partitions: 1}, {}} {
		if _, err := p.NewTask(0, env); err == nil {
			t.Errorf("partition %d of %d was accepted", env.Partition, env.Partitions)
		}
	}
	if _, err := p.NewTask(1, topology.TaskEnv{Partitions: 1}); err == nil {
		t.Error("stage 1 of 1 was accepted")
	}
}

func TestDriverErrors(t *testing.T) {
	d := newDriver(t, alarmJob())
	if err := d.Send("other", nil, nil, 0); err == nil {
		t.Error("a topic that is not read was accepted")
	}
	if err := d.SendRecord(topology.Record{Topic: "alarm-events", Partition: 1}); err == nil {
		t.Error("partition 1 of 1 was accepted")
	}
	if _, err := topology.StateOf[int](d, "arm"); err == nil {
		t.Error("a state of another type was returned")
	}
	if _, err := topology.StateOf[armed](d, "legs"); err == nil {
		t.Error("an unknown store was accepted")
	}
	if _, err := topology.NewDriver(topology.New("empty")); err == nil {
		t.Error("an empty job was accepted")
	}
}

func TestStateAs(t *testing.T) {
	job := topology.New("as")
	in := topology.From(job, "in", codec.String())
	var typ kstate.Type[string] = codec.State[string]()
	topology.Process(in, "step", obey, topology.StateAs(typ))
	d := newDriver(t, job)
	send(t, d, "in", "k", "set:a")
	if states, err := topology.StateOf[string](d, "step"); err != nil || states["k"] != "a" {
		t.Error(states, err)
	}
	if err := d.Send("in", []byte("k"), []byte("fail"), -1); !errors.As(err, new(*topology.BadRecord)) {
		t.Error(err)
	}
}

func TestSavepoints(t *testing.T) {
	plain := mustPlan(t, tallyJob())
	p := mustPlan(t, tallyJob().With(topology.Savepoints(6*time.Hour, 28)))
	if p.Savepoints != (topology.Schedule{Every: 6 * time.Hour, Keep: 28}) || plain.Savepoints != (topology.Schedule{}) {
		t.Errorf("schedules %+v, %+v", p.Savepoints, plain.Savepoints)
	}
	if p.Hash != plain.Hash {
		t.Error("the schedule changes what the job computes")
	}
	for _, wrong := range []topology.JobOption{topology.Savepoints(0, 1), topology.Savepoints(time.Millisecond, 0), topology.Savepoints(time.Hour, -1)} {
		if _, err := tallyJob().With(wrong).Plan(); err == nil || !strings.Contains(err.Error(), "at least 1s apart") {
			t.Errorf("accepted: %v", err)
		}
	}
}
