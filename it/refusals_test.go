package it

import (
	"bytes"
	"fmt"
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

// The tests here produce each verdict about a savepoint, and each refusal around
// one, through the commands, and then type what the message says.

// judgedYAML is a job of two stages and three stores.
var judgedYAML = template.Must(template.New("judged").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  fields: {room: int, floor: int, n: long}
  key: room
steps:
  - process: seen
    state: {n: long}
    rules:
      - set: {n: n}
        emit: {room, floor, n}
  - process: last
    state: {n: long}
    rules:
      - set: {n: n}
        emit: {room, floor, n}
  - key: floor
    name: by-floor
  - process: total
    state: {n: long}
    rules:
      - set: {n: state.n + n}
        emit: {floor, n: state.n}
output: {topic: {{.Out}}, key: floor}
`))

// judged is a job that stands at a savepoint.
type judged struct {
	*job
	at string
}

const judgedRecords = 40

func newJudged(t *testing.T, name string) judged {
	t.Helper()
	return newJudgedOn(t, sharedKafka(t), name)
}

func newJudgedOn(t *testing.T, k *kafka, name string) judged {
	t.Helper()
	j := judged{newJob(t, k, options{Name: name + "-" + run.id, Template: judgedYAML, Partitions: 2}), ""}
	j.visits(judgedRecords)
	p := j.start()
	j.waitDone(time.Minute)
	j.waitArrived()
	stdout := j.output("savepoint-and-stop", j.Name)
	j.ends(p, 20*time.Second)
	j.at = strings.Fields(stdout)[1]
	return j
}

// visits writes input, some of it to each partition.
func (j judged) visits(n int) {
	j.t.Helper()
	var records []*kgo.Record
	for i := range n {
		room := i % 10
		records = append(records, &kgo.Record{Topic: j.In, Key: fmt.Append(nil, room),
			Value: fmt.Appendf(nil, `{"room":%d,"floor":%d,"n":%d}`, room, room/3, i)})
	}
	must(j.t, j.kafka.Produce(within(j.t, time.Minute), records...))
}

// file writes a changed copy of the job file; edits are pairs of old and new.
func (j judged) file(name string, edits ...string) string {
	j.t.Helper()
	text, err := os.ReadFile(j.job.file)
	must(j.t, err)
	for i := 0; i < len(edits); i += 2 {
		if !bytes.Contains(text, []byte(edits[i])) {
			j.t.Fatalf("the job's file has no %q", edits[i])
		}
	}
	changed := strings.NewReplacer(edits...).Replace(string(text))
	must(j.t, os.WriteFile(filepath.Join(filepath.Dir(j.job.file), name), []byte(changed), 0o644))
	return name
}

// types runs a command as a message gives it, and waits for its end.
func (j judged) types(command string, more ...string) (said string, code int) {
	j.t.Helper()
	words := strings.Fields(command)
	if len(words) < 2 || words[0] != "procd" {
		j.t.Fatalf("%q is no command of procd", command)
	}
	p, code, err := j.binary.Run(within(j.t, time.Minute), filepath.Dir(j.job.file), j.env(), append(words[1:], more...)...)
	must(j.t, err)
	return p.Stdout.String() + p.Stderr.String(), code
}

func (j judged) env() []string { return []string{"PROCD_BROKERS=" + j.kafka.address} }

// runs types a command that starts the job: it must run. Then the job is
// stopped.
func (j judged) runs(command string) {
	j.t.Helper()
	p := j.launched(command)
	j.output("stop", j.Name)
	if code := j.ends(p, 20*time.Second); code != 0 {
		j.t.Errorf("%s ended with %d: %s", command, code, p.Stderr.Tail(3))
	}
}

// wantVerdict checks that savepoint-check prints lines, and that start refuses
// for the same reason or would start. It returns the command that goes on, if
// there is one.
func (j judged) wantVerdict(file, savepoint string, code int, want []string, flags ...string) (command string) {
	j.t.Helper()
	stdout, stderr, got := j.command("savepoint-check", append([]string{savepoint, file}, flags...)...)
	if got != code {
		j.t.Errorf("savepoint-check %s: exit code %d, want %d:\n%s%s", file, got, code, stdout, stderr)
	}
	for _, line := range want {
		if !regexp.MustCompile("(?m)^" + line).MatchString(stdout) {
			j.t.Errorf("savepoint-check %s does not say %q:\n%s", file, line, stdout)
		}
	}
	args := append([]string{"--savepoint", savepoint, "--again", "--dry-run", file}, flags...)
	_, said, got := j.command("start", args...)
	if got != code {
		j.t.Errorf("start --dry-run %s: exit code %d, want %d: %s", file, got, code, said)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	verdict := lines[len(lines)-1]
	switch {
	case code == 0 && !strings.HasPrefix(verdict, "yes, "), code != 0 && !strings.HasPrefix(verdict, "no"):
		j.t.Errorf("the last line is %q", verdict)
	case code != 0 && !strings.HasPrefix(said, "procd: "):
		j.t.Errorf("start says %q", said)
	}
	if i := strings.Index(verdict, "procd start "); i >= 0 {
		command = verdict[i:]
		if said, got := j.types(command, "--dry-run"); got != 0 && !strings.Contains(said, "--again") {
			j.t.Errorf("%s --dry-run: exit code %d: %s", command, got, said)
		}
	}
	return command
}

// TestVerdicts produces every rule of a verdict by a changed job, and by changed
// topics.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	j := newJudged(t, "verdicts")
	ctx := within(t, 2*time.Minute)
	must(t, j.kafka.CreateTopic(ctx, j.In+"-2", 2, nil))
	must(t, j.kafka.CreateTopic(ctx, j.In+"-3", 3, nil))
	seen := `  - process: seen
    state: {n: long}
    rules:
      - set: {n: n}
        emit: {room, floor, n}
`
	for _, v := range []struct {
		name  string
		code  int
		lines []string
		edits []string
		flags []string
		start bool // type the command to its end
	}{
		{name: "same", start: true},
		{name: "job-name", lines: []string{`note +job-name `}, edits: []string{"job: " + j.Name, "job: " + j.Name + "-copy"}},
		{name: "store-missing", code: 3, start: true, edits: []string{"process: seen", "process: noticed"},
			lines: []string{`refuse +store-missing +seen +\d+ .*rename it back to "seen"`, `note +store-new +noticed`}},
		{name: "store-dropped", start: true, edits: []string{"process: seen", "process: noticed"}, flags: []string{"--drop", "seen"},
			lines: []string{`note +store-dropped +seen +\d+ `}},
		{name: "drop-unknown", code: 3, flags: []string{"--drop", "sene"}, lines: []string{`refuse +drop-unknown +sene `}},
		{name: "drop-used", code: 3, flags: []string{"--drop", "seen"}, lines: []string{`refuse +drop-unknown +seen `}},
		{name: "store-swapped", edits: []string{"process: seen", "process: last", "process: last", "process: seen"},
			lines: []string{`warn +store-swapped `}},
		{name: "store-moved", edits: []string{"  - key: floor\n    name: by-floor\n", "", "output: {topic: " + j.Out + ", key: floor}", "output: {topic: " + j.Out + "}"},
			lines: []string{`note +store-moved +total .* from stage by:by-floor to in:` + j.In}},
		{name: "partitioner", code: 3, edits: []string{"  key: room\n", "  key: room\n  partitioner: crc32\n"},
			lines: []string{`refuse +partitioner +seen .*set input.partitioner: murmur2`}},
		{name: "key-type", code: 3, edits: []string{"{room: int,", "{room: string,"}, lines: []string{`refuse +key-type +seen .*change the key back`}},
		{name: "schema", code: 3, edits: []string{seen, strings.NewReplacer("{n: long}", "{n: string}", "set: {n: n}", "set: {n: string(n)}").Replace(seen)},
			lines: []string{`refuse +schema +seen `}},
		{name: "schema-changed", start: true, edits: []string{seen, strings.ReplaceAll(seen, "{n: long}", "{n: long, m: long}")},
			lines: []string{`note +schema-changed +seen `}},
		{name: "other-source", edits: []string{"topic: " + j.In + "\n", "topic: " + j.In + "-2\n"},
			lines: []string{`warn +source-dropped +` + j.In + ` `, `note +source-new +` + j.In + `-2 `, `note +store-moved +seen `}},
		{name: "stage-partitions", code: 3, edits: []string{"topic: " + j.In + "\n", "topic: " + j.In + "-3\n"},
			lines: []string{`refuse +stage-partitions +seen `, `refuse +stage-partitions +total `}},
	} {
		t.Run(v.name, func(t *testing.T) {
			j := judged{job: j.with(t), at: j.at}
			file := j.file(v.name+".yaml", v.edits...)
			command := j.wantVerdict(file, j.at, v.code, v.lines, v.flags...)
			if v.start {
				j.runs(command + " --again")
			}
		})
	}
}

// with is the job in a subtest.
func (j *job) with(t *testing.T) *job {
	c := *j
	c.t = t
	return &c
}

// TestRecordsLostByTheBroker cuts the log of a partition, as a power failure does
// that takes what the broker had not written yet: what a savepoint was taken of
// is not there, and an older one is.
func TestRecordsLostByTheBroker(t *testing.T) {
	t.Parallel()
	logs := filepath.Join(t.TempDir(), "logs")
	k := ownKafka(t, kafkatest.BrokerOptions{LogDir: logs})
	j := newJudgedOn(t, k, "lost")
	file := filepath.Base(j.job.file)
	log := filepath.Join(logs, j.In+"-0", strings.Repeat("0", 20)+".log")
	until, err := os.Stat(log)
	must(t, err)
	p := j.launched("procd start --savepoint " + j.at + " " + file)
	j.visits(judgedRecords)
	j.waitDone(time.Minute)
	j.waitArrived(p)
	newer := strings.Fields(j.succeeds("procd savepoint-and-stop " + j.Name))[1]
	j.ends(p, 20*time.Second)

	k.broker.Kill()
	must(t, os.Truncate(log, until.Size()))
	must(t, k.broker.Restart(within(t, 2*time.Minute)))
	beyond := `refuse +offsets-beyond +` + j.In + `/0 +\d+ .*records were lost; check --brokers; if the topic was truncated, start from a savepoint that was taken before offset \d+`
	j.wantVerdict(file, newer, exitRefused, []string{beyond})
	j.refused("procd start --accept-gap --savepoint "+newer+" "+file, `\(offsets-beyond\).*taken before offset \d+`)
	// Without it the job is running again, by name, when that is found.
	j.refused("procd start --resume "+file, `the topic ends at \d+: the broker lost records .*; stop the job and start it from a savepoint that was taken before offset \d+`)
	j.succeeds("procd stop " + j.Name)
	j.runs("procd start --savepoint " + j.at + " --again " + file)
}

// TestVerdictsOnTopics breaks the source topic behind a savepoint.
func TestVerdictsOnTopics(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		rule    string
		line    string
		breaks  func(j judged)
		command string // in the message; START is the one of the verdict
	}{
		{"topic-missing", `refuse +topic-missing .*does not exist; check --brokers`, func(j judged) {
			must(t, j.kafka.DeleteTopic(t.Context(), j.In))
		}, ""},
		{"topic-id", `refuse +topic-id .*was deleted and made again`, func(j judged) {
			must(t, j.kafka.DeleteTopic(t.Context(), j.In))
			must(t, j.kafka.CreateTopic(t.Context(), j.In, 2, nil))
		}, "procd reset"},
		{"partitions", `refuse +partitions .*had 2 partitions and has 3 now`, func(j judged) {
			resp, err := j.kafka.Admin.CreatePartitions(t.Context(), 1, j.In)
			must(t, err)
			must(t, resp.Error())
		}, "procd reset"},
		{"offsets-lost", `refuse +offsets-lost +\S+/0 +\d+ +retention has removed `, func(j judged) {
			// Records that come after the savepoint are gone before it is used.
			j.visits(10)
			ends, err := j.kafka.Admin.ListEndOffsets(t.Context(), j.In)
			must(t, err)
			offsets := kadm.Offsets{}
			ends.Each(func(o kadm.ListedOffset) { offsets.AddOffset(o.Topic, o.Partition, o.Offset, -1) })
			deleted, err := j.kafka.Admin.DeleteRecords(t.Context(), offsets)
			must(t, err)
			must(t, deleted.Error())
		}, "--accept-gap"},
	} {
		t.Run(v.rule, func(t *testing.T) {
			j := newJudged(t, v.rule)
			v.breaks(j)
			var command string
			eventually(t, 10*time.Second, func() error { // the broker hears of it
				stdout, _, _ := j.command("savepoint-check", j.at, filepath.Base(j.job.file))
				if !strings.Contains(stdout, v.rule) {
					return fmt.Errorf("savepoint-check says %q", stdout)
				}
				return nil
			})
			command = j.wantVerdict(filepath.Base(j.job.file), j.at, exitRefused, []string{v.line})
			j.wantEnd(j.start("--savepoint", j.at), exitRefused, v.rule, v.command)
			switch v.command {
			case "--accept-gap":
				j.wantVerdict(filepath.Base(j.job.file), j.at, 0, []string{`warn +gap-accepted +\S+/0 `}, "--accept-gap")
				p := j.begun(command, `msg="\d+ records of \S+/0, offsets \d+ to \d+, are skipped: retention has removed them"`)
				j.visits(10)
				j.waitDone(time.Minute)
				j.output("stop", j.Name)
				j.ends(p, 20*time.Second)
			case "procd reset":
				if said, code := j.types("procd reset "+j.Name, "--yes"); code != 0 {
					t.Errorf("reset: exit code %d: %s", code, said)
				}
				j.runs("procd start " + filepath.Base(j.job.file))
			}
		})
	}
}

// refused types a command that must be refused with a message, and returns what
// the last group of the pattern has found in it.
func (j judged) refused(command, says string) (then string) {
	j.t.Helper()
	said, code := j.types(command)
	match := regexp.MustCompile(says).FindStringSubmatch(said)
	if code != exitRefused || match == nil {
		j.t.Fatalf("%s: exit code %d, want %d and %q:\n%s", command, code, exitRefused, says, said)
	}
	if !strings.HasPrefix(said, "procd: ") && !strings.Contains(said, "\nprocd: ") {
		j.t.Errorf("%s says %q", command, said)
	}
	return match[len(match)-1]
}

// begun types a command that goes on, and waits until it has said something.
func (j judged) begun(command, until string) *kafkatest.Process {
	j.t.Helper()
	p := j.beside(command)
	if _, err := p.Stderr.WaitFor(within(j.t, time.Minute), regexp.MustCompile(until)); err != nil {
		j.t.Fatalf("%s: %v", command, err)
	}
	return p
}

// beside types a command and does not wait for it.
func (j judged) beside(command string) *kafkatest.Process {
	j.t.Helper()
	words := strings.Fields(command)
	if words[1] == "start" {
		words = append(words, "--admin", "off")
	}
	p, err := j.binary.Start(filepath.Dir(j.job.file), j.env(), words[1:]...)
	must(j.t, err)
	j.t.Cleanup(p.Kill)
	return p
}

// launched types a command that starts the job.
func (j judged) launched(command string) *kafkatest.Process {
	j.t.Helper()
	return j.begun(command, "msg=running")
}

// wantRefused waits until a command that was typed has been refused.
func (j judged) wantRefused(p *kafkatest.Process, says string) {
	j.t.Helper()
	code := j.ends(p, time.Minute)
	if said := p.Stderr.String(); code != exitRefused || !regexp.MustCompile(says).MatchString(said) {
		j.t.Errorf("exit code %d, want %d and %q:\n%s", code, exitRefused, says, said)
	}
}

// succeeds types a command that must end well.
func (j judged) succeeds(command string) (said string) {
	j.t.Helper()
	said, code := j.types(command)
	if code != 0 {
		j.t.Fatalf("%s: exit code %d, %s", command, code, said)
	}
	return said
}

// TestRefusals produces the refusals around savepoints, stops and generations,
// and types the command that each one names.
func TestRefusals(t *testing.T) {
	t.Parallel()
	j := newJudged(t, "refusals")
	file := filepath.Base(j.job.file)
	refused, launch := j.refused, j.launched

	// It stands at a savepoint.
	start := "procd start " + file
	from := refused(start, `stopped with savepoint \S+ at \S+ by \S+ \(generation 1, run 1\); start from there with (procd start --savepoint \S+ \S+), or continue with --resume`)
	refused("procd savepoint "+j.Name, `does not run \(STOPPED since \S+\); only a running job can take a savepoint`)
	refused("procd savepoint-rm "+j.at, `is in use: .* is stopped at it; .+`)
	refused("procd reset "+j.Name, `repeat with --yes`)
	refused("procd get "+j.Name+" seen 1", `does not run .*procd savepoint-inspect`)
	j.file("renamed.yaml", "process: seen", "process: noticed")
	refused("procd start --resume renamed.yaml", `differs from the one that generation 1 runs, .*store "seen" is gone.*; change it back, or procd reset \S+ and lose the state`)

	// It runs from there.
	p := launch(from)
	refused("procd reset "+j.Name+" --yes", `is running: .*; (procd stop \S+) first`)
	stop := refused("procd start --offsets-from-state "+file, `is running: .*; (procd stop \S+) first`)
	j.file("changed.yaml", "set: {n: state.n + n}", "set: {n: state.n + n + n}")
	refused("procd start changed.yaml", `already running with another definition \(.*\); procd savepoint-and-stop \S+, then procd start --savepoint latest changed.yaml`)
	if said, code := j.types("procd savepoint " + j.Name + " --id " + savepointID(1)); code != 0 {
		t.Fatalf("savepoint: %d, %s", code, said)
	}
	refused("procd savepoint-and-stop "+j.Name+" --id "+savepointID(1), `was asked already, by \S+, as a savepoint without a stop; use another id`)
	take := refused("procd start --savepoint "+savepointID(1)+" "+file, `already running \(generation 2, from savepoint \S+\) \(.*\); (procd savepoint-and-stop \S+), or procd stop \S+, then start again`)

	// The commands that these named.
	if said, code := j.types(stop); code != 0 {
		t.Fatalf("%s: exit code %d, %s", stop, code, said)
	}
	j.ends(p, 20*time.Second)
	refused(start, `was stopped at \S+ by \S+ \(generation 2, run 2\); continue it with (procd start --resume job.yaml)`)
	p = launch("procd start --resume changed.yaml")
	if said, code := j.types(take); code != 0 {
		t.Fatalf("%s: exit code %d, %s", take, code, said)
	}
	j.ends(p, 20*time.Second)
	p = launch("procd start --savepoint " + savepointID(1) + " changed.yaml")
	j.output("stop", j.Name)
	j.ends(p, 20*time.Second)
	refused("procd start --savepoint "+savepointID(1)+" changed.yaml", `or go back to \S+ once more with --again`)
	again := refused("procd start --savepoint "+j.at+" changed.yaml", `generation 2 began with savepoint \S+ already, .*; go back to it once more with (procd start --savepoint \S+ --again changed.yaml)`)

	// A base that is gone is asked for, until it is back.
	dir := filepath.Join(filepath.Dir(j.job.file), "savepoints", j.at)
	j.begun(again, "msg=decided").Kill() // before any task needs it no more
	must(t, os.RemoveAll(filepath.Join(filepath.Dir(j.job.file), "procd-data")))
	must(t, os.Rename(dir, dir+".away"))
	said, code := j.types("procd start changed.yaml --admin off")
	must(t, os.Rename(dir+".away", dir))
	if code != exitRefused || !strings.Contains(said, "put it back, or name where it is with --savepoint-dir") {
		t.Errorf("without its base: exit code %d, %s", code, said)
	}
	p = launch("procd start changed.yaml")
	j.output("stop", j.Name)
	j.ends(p, 20*time.Second)
}

// TestEveryRuleIsProduced holds the rules here and the table of the format's
// page together: a rule that nobody produces is no rule.
func TestEveryRuleIsProduced(t *testing.T) {
	page, err := os.ReadFile("../docs/format/savepoint.md")
	must(t, err)
	self, err := os.ReadFile("refusals_test.go")
	must(t, err)
	rules := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (note|warn|refuse)").FindAllSubmatch(page, -1)
	var names []string
	for _, r := range rules {
		names = append(names, string(r[1]))
		if !bytes.Contains(self, append([]byte(" +"), append(r[1], ' ')...)) {
			t.Errorf("no test here produces %s", r[1])
		}
	}
	if len(slices.Compact(names)) < 20 {
		t.Errorf("the page has %d rules: %v", len(names), names)
	}
}
