package it

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// The tests here are named after the rules of the design that they hold.

// generations are the generation records ever written to the control topic.
func (j *job) generations() (records []*kgo.Record) {
	j.t.Helper()
	for _, r := range j.read("procd." + j.Name + ".control") {
		if strings.HasPrefix(string(r.Key), "generation/") && r.Value != nil {
			records = append(records, r)
		}
	}
	return records
}

// TestP1StartsAtOnce starts many processes in the same instant, from nothing:
// one decides, the others join.
func TestP1StartsAtOnce(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 100), feedRate)
	var procs []*kafkatest.Process
	for range 4 {
		procs = append(procs, j.start())
	}
	j.waitMembers(len(procs))
	j.waitEveryPartition(time.Minute)
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(procs...)
	if g := j.generations(); len(g) != 1 || string(g[0].Key) != "generation/1" {
		t.Errorf("%d generation records", len(g))
	}
	j.verify()
}

// TestP2ChangedJob edits the file: refused while the old one runs, a revision
// when it does not, and refused for good if the state does not fit.
func TestP2ChangedJob(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	p := j.start()
	g := newGenerator(run.seed, 100)
	j.produce(g.events(5000)...)
	j.waitDone(time.Minute)

	j.edit("state: {active: bool, since: long}", "state: {active: bool, since: long, seen: long}")
	j.edit(`set: {active: true, since: time}`, `set: {active: true, since: time, seen: time}`)
	j.wantEnd(j.start(), exitRefused, j.Name)
	j.produce(g.events(5000)...)
	j.waitDone(time.Minute)
	j.interrupt(p)

	p = j.start()
	j.produce(g.events(5000)...)
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.verify()
	if len(j.generations()) != 1 {
		t.Error("a revision must not be a generation")
	}

	j.edit("process: arm", "process: other")
	j.wantEnd(j.start(), exitRefused, "arm", "procd reset "+j.Name)
}

// TestP3Seats: SIGTERM keeps the seat, so that a restart goes on at once;
// Ctrl-C gives it up, so that others do.
func TestP3Seats(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, 100)
	p := j.start()
	j.produce(g.events(5000)...)
	j.waitDone(time.Minute)
	j.waitWorkers(1)
	seat := j.identity(j.data)

	j.terminate(p)
	must(t, j.wantSeats(1))
	j.produce(g.events(5000)...)
	before := j.out.Count()
	p = j.start()
	j.waitOutput(before, 30*time.Second)
	if took := time.Since(p.Started()); took > sessionTimeout/2 {
		t.Errorf("after SIGTERM it took %v to go on", took)
	}
	j.waitDone(time.Minute)
	if now := j.identity(j.data); now != seat {
		t.Errorf("seat %s, was %s", now, seat)
	}

	j.interrupt(p)
	group, err := j.describe()
	must(t, err)
	if len(group.Members) > 0 {
		t.Errorf("after Ctrl-C %d members are left", len(group.Members))
	}
	j.verify()
}

// TestSecondSignal ends a process that cannot end in order: its broker is away.
func TestSecondSignal(t *testing.T) {
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	j := newJob(t, k, options{})
	p := j.start()
	j.produce(newGenerator(run.seed, 100).events(5000)...)
	j.waitDone(time.Minute)
	k.broker.Proxy().BlackHole()
	j.ended[p] = true
	// Impatience: signals within a moment of the first count as one.
	must(t, kafkatest.Until(within(t, 2*time.Second), 150*time.Millisecond, func() error {
		if !p.Running() {
			return nil
		}
		must(t, p.Signal(syscall.SIGTERM))
		return errors.New("it still runs")
	}))
	if code := j.ends(p, time.Second); code == 0 {
		t.Error("exit code 0, though nothing was ended in order")
	}
}

// TestP5PausedAcrossReset pauses a process in its transaction while the job is
// stopped, reset and started again: what it had open must never appear.
func TestP5PausedAcrossReset(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 100), feedRate)
	zombie := j.startIn(j.data + "-zombie")
	j.waitEveryPartition(30 * time.Second)
	j.pauseInTransaction(zombie)
	must(t, feed.stop())

	if _, stderr, code := j.command("stop", j.Name); code != 0 {
		t.Fatalf("stop: exit code %d, %s", code, stderr)
	}
	if _, stderr, code := j.command("reset", j.Name, "--yes"); code != 0 {
		t.Fatalf("reset: exit code %d, %s", code, stderr)
	}
	// At once, not when the transaction has timed out.
	if open, err := j.kafka.OpenTransactions(t.Context(), j.group()+"."); err != nil || len(open) > 0 {
		t.Errorf("after reset these are open: %v, %v", open, err)
	}
	first := j.read(j.Out)
	p := j.start()
	j.waitDone(time.Minute)
	must(t, zombie.Continue())
	j.ended[zombie] = true
	if code := j.ends(zombie, time.Minute); code != exitRefused && code != 0 {
		t.Errorf("the zombie ended with exit code %d", code)
	}
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.verifySettled()

	alarms, _, err := replay(j.read(j.In), nil)
	must(t, err)
	output := j.read(j.Out)
	must(t, sameRecords(j.out.Records(), output))
	must(t, prefixes(first, alarms))
	must(t, sameAlarms(after(output, first), alarms))
}

// pauseInTransaction pauses a process at a moment when it has a transaction
// open, as seen from outside.
func (j *job) pauseInTransaction(p *kafkatest.Process) {
	j.t.Helper()
	eventually(j.t, time.Minute, func() error {
		must(j.t, p.Pause())
		open, err := j.kafka.OpenTransactions(j.t.Context(), j.group()+".")
		if err == nil && slices.Contains(states(open), "Ongoing") {
			return nil
		}
		must(j.t, p.Continue())
		return fmt.Errorf("no transaction is open: %v, %w", open, err)
	})
}

func states(open map[string]string) (states []string) {
	for _, state := range open {
		states = append(states, state)
	}
	return states
}

// prefixes wants the alarms of each room to be the first of those it should
// have.
func prefixes(output []*kgo.Record, want map[int][]event) error {
	got := map[int]int{}
	for _, r := range output {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		n := got[e.Room]
		if n >= len(want[e.Room]) || want[e.Room][n] != e {
			return fmt.Errorf("room %d: alarm number %d is %v", e.Room, n, e)
		}
		got[e.Room]++
	}
	return nil
}

// after are the records of output that are not among first.
func after(output, first []*kgo.Record) []*kgo.Record {
	ends := map[int32]int64{}
	for _, r := range first {
		ends[r.Partition] = r.Offset + 1
	}
	return slices.DeleteFunc(slices.Clone(output), func(r *kgo.Record) bool { return r.Offset < ends[r.Partition] })
}

// TestP6StopIsDurable: a stopped job stays stopped, whatever restarts it.
func TestP6StopIsDurable(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	a, b := j.start(), j.start()
	g := newGenerator(run.seed, 100)
	j.produce(g.events(5000)...)
	j.waitDone(time.Minute)
	if _, stderr, code := j.command("stop", j.Name); code != 0 {
		t.Fatalf("stop: exit code %d, %s", code, stderr)
	}
	for _, p := range []*kafkatest.Process{a, b} {
		if code := j.ends(p, 10*time.Second); code != 0 {
			t.Errorf("a stopped process ended with exit code %d", code)
		}
	}
	j.produce(g.events(5000)...)
	for range 2 {
		j.wantEnd(j.start(), exitRefused, "stopped", "--resume")
	}
	p := j.start("--resume")
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.verify()
}

// growYAML makes states and outputs of twice the input's size.
var growYAML = template.Must(template.New("grow").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  fields: {what: string, text: string}
{{.Input}}steps:
  - process: keep
    state: {text: string}
    rules:
      - when: what == "state"
        set: {text: text + text}
        emit: {what, size: size(text)}
      - when: what == "output"
        emit: {what, size: size(text), text: text + text}
      - emit: {what, size: size(text)}
output: {topic: {{.Out}}}
`))

// TestP22TooLarge: a state or an output above the broker's limit is found at
// the commit of a whole transaction; the one record must be blamed, and all
// others be processed.
func TestP22TooLarge(t *testing.T) {
	t.Parallel()
	name := nameOf(t)
	dead := name + "-dead"
	j := newJob(t, sharedKafka(t), options{Name: name, Template: growYAML, Partitions: 1, Input: "  on-bad-record: {dead-letter: " + dead + "}\n"})
	must(t, j.kafka.CreateTopic(t.Context(), dead, 1, nil))
	large := strings.Repeat("x", 600_000)
	var wantOut, wantDead int
	for i := range 30 {
		text := "small"
		if i%10 == 4 {
			text = large
			wantDead++
		} else {
			wantOut++
		}
		what := []string{"state", "output"}[i/10%2]
		value, err := json.Marshal(map[string]string{"what": what, "text": text})
		must(t, err)
		must(t, j.kafka.Produce(within(t, time.Minute), &kgo.Record{Topic: j.In, Key: fmt.Append(nil, "key", i), Value: value}))
	}
	p := j.start()
	j.waitDone(time.Minute)
	j.interrupt(p)
	if out := j.read(j.Out); len(out) != wantOut {
		t.Errorf("%d outputs, want %d", len(out), wantOut)
	}
	letters := j.read(dead)
	if len(letters) != wantDead {
		t.Errorf("%d dead letters, want %d", len(letters), wantDead)
	}
	for _, r := range letters {
		if !strings.Contains(string(r.Value), large) {
			t.Errorf("the wrong record was blamed: %.80q", r.Value)
		}
	}
}

// TestP23OutputTimestamps: an output carries its input's Kafka timestamp, not
// the event time, which retention would take for the record's age.
func TestP23OutputTimestamps(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	records := j.records([]event{{"activate", 1, 0}, {"motion", 1, 6000}})
	for _, r := range records {
		r.Timestamp = at
	}
	must(t, j.kafka.Produce(within(t, time.Minute), records...))
	p := j.start()
	j.waitDone(time.Minute)
	j.interrupt(p)
	for _, r := range j.read(j.Out) {
		if !r.Timestamp.Equal(at) {
			t.Errorf("output's timestamp is %v, the input's %v", r.Timestamp, at)
		}
		if got := header(r, "procd-time"); got != "6000" {
			t.Errorf("event time in the header is %q", got)
		}
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// TestP26InternalTopics: what procd's topics must be set to.
func TestP26InternalTopics(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{Template: floorsYAML})
	p := j.start()
	j.produce(newGenerator(run.seed, 100).events(1000)...)
	j.waitFloors(time.Minute)
	j.interrupt(p)
	prefix := "procd." + j.Name + "."
	const never, forever = "9223372036854775807", "-1"
	for topic, want := range map[string]map[string]string{
		"control":                 {"cleanup.policy": "compact"},
		"g1.counts.changelog":     {"cleanup.policy": "compact", "message.timestamp.after.max.ms": never},
		"g1.positions":            {"cleanup.policy": "compact", "segment.bytes": "16777216", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"},
		"g1.by-floor.repartition": {"cleanup.policy": "delete", "retention.ms": forever, "message.timestamp.after.max.ms": never},
	} {
		configs, err := j.kafka.Admin.DescribeTopicConfigs(t.Context(), prefix+topic)
		must(t, err)
		config, err := configs.On(prefix+topic, nil)
		must(t, err)
		got := map[string]string{}
		for _, c := range config.Configs {
			got[c.Key] = c.MaybeValue()
		}
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s: %s is %q, want %q", topic, key, got[key], value)
			}
		}
	}
	details, err := j.kafka.Admin.ListTopics(t.Context(), prefix+"control", prefix+"g1.counts.changelog", j.repartition())
	must(t, err)
	if n := len(details[prefix+"control"].Partitions); n != 1 {
		t.Errorf("the control topic has %d partitions", n)
	}
	if a, b := len(details[prefix+"g1.counts.changelog"].Partitions), len(details[j.repartition()].Partitions); a != b {
		t.Errorf("%d changelog partitions for %d tasks", a, b)
	}
}

// TestForeignTransaction: a hanging transaction of somebody else on the input
// holds the job back; status names who it is (T5), and the job goes on when it
// ends.
func TestForeignTransaction(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	p := j.start()
	g := newGenerator(run.seed, 100)
	j.produce(g.events(2000)...)
	j.waitDone(time.Minute)
	stranger, err := kgo.NewClient(kgo.SeedBrokers(j.kafka.Brokers...), kgo.TransactionalID(j.Name+"-stranger"))
	must(t, err)
	defer stranger.Close()
	must(t, stranger.BeginTransaction())
	must(t, stranger.ProduceSync(within(t, time.Minute), event{"motion", 1, 1}.record(j.In)).FirstErr())
	j.produce(g.events(2000)...)
	eventually(t, 30*time.Second, func() error {
		stdout, stderr, code := j.command("status", j.Name)
		if code != 0 || !strings.Contains(stdout, j.Name+"-stranger") {
			return fmt.Errorf("status, exit code %d: %s %s", code, stdout, stderr)
		}
		return nil
	})
	must(t, stranger.EndTransaction(within(t, time.Minute), kgo.TryAbort))
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.verify()
}
