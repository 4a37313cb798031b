package it

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// alarmYAML is the first example of the documentation, with its topics' names
// and settings of a test filled in.
var alarmYAML = template.Must(template.New("alarm").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  format: json
  fields: {type: string, room: int, time: long}
  key: room
  time: {field: time, out-of-order: 5s}
{{.Input}}steps:
  - filter: type in ["activate", "deactivate", "motion"]
  - process: arm
    state: {active: bool, since: long}
    rules:
      - when: type == "activate"
        set: {active: true, since: time}
      - when: type == "deactivate"
        set: {active: false, since: time}
      - when: type == "motion" && state.active && time - state.since > 5000
        emit: {type: "'ALARM'", room, time}
output: {topic: {{.Out}}, format: json, key: room}
`))

// job is a job under test with its topics and processes.
type job struct {
	t     *testing.T
	kafka *kafka
	options
	file   string
	data   string // the data directory of processes that are not given another
	binary *kafkatest.Binary
	procs  []*kafkatest.Process
	ended  map[*kafkatest.Process]bool // with an error, as the test wanted
	out    *kafkatest.Reader           // reads the output all the time
}

// options are what tests choose of a job.
type options struct {
	Name       string
	In, Out    string // topics
	Input      string // more lines of the input, indented by two
	Template   *template.Template
	Program    string            // main package; default cmd/procd
	Partitions int32             // of input and output; default 4
	Configs    map[string]string // of the input topic
	Existing   bool              // the topics are there already
}

const procdProgram = "cmd/procd"

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// newJob makes the topics of a job and its file; nothing runs yet.
func newJob(t *testing.T, k *kafka, o options) *job {
	t.Helper()
	if o.Name == "" {
		o.Name = nameOf(t)
	}
	if o.In == "" {
		o.In, o.Out = o.Name+"-in", o.Name+"-out"
	}
	if o.Template == nil {
		o.Template = alarmYAML
	}
	if o.Program == "" {
		o.Program = procdProgram
	}
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	j := &job{t: t, kafka: k, options: o, ended: map[*kafkatest.Process]bool{}, data: filepath.Join(t.TempDir(), "data")}
	j.binary = program(t, o.Program)
	j.file = filepath.Join(t.TempDir(), "job.yaml")
	j.write(o.Template)
	if !o.Existing {
		ctx := within(t, 30*time.Second)
		must(t, k.CreateTopic(ctx, j.In, o.Partitions, o.Configs))
		must(t, k.CreateTopic(ctx, j.Out, o.Partitions, nil))
	}
	t.Cleanup(j.end)
	return j
}

// write writes the job's file.
func (j *job) write(text *template.Template) {
	j.t.Helper()
	var b strings.Builder
	must(j.t, text.Execute(&b, j))
	must(j.t, os.WriteFile(j.file, []byte(b.String()), 0o644))
}

// edit replaces text in the job's file, as a user with an editor does.
func (j *job) edit(old, replacement string) {
	j.t.Helper()
	text, err := os.ReadFile(j.file)
	must(j.t, err)
	if !strings.Contains(string(text), old) {
		j.t.Fatalf("the job's file has no %q", old)
	}
	must(j.t, os.WriteFile(j.file, []byte(strings.Replace(string(text), old, replacement, 1)), 0o644))
}

// end kills what still runs and shows what the processes said if the test
// failed.
func (j *job) end() {
	for _, p := range j.procs {
		p.Kill()
	}
	if j.out != nil {
		j.out.Close()
	}
	if !j.t.Failed() {
		return
	}
	j.t.Logf("seed %d", run.seed)
	for i, p := range j.procs {
		if text := p.Stderr.Tail(logLines); text != "" {
			j.t.Logf("process %d (pid %d, started %s):\n%s", i, p.PID(), p.Started().Format("15:04:05.000"), text)
		}
	}
}

// logLines is how much of each process's log a failed test shows.
const logLines = 25

func (j *job) group() string { return "procd." + j.Name }
func (j *job) changelog(g int, s string) string {
	return fmt.Sprintf("procd.%s.g%d.%s.changelog", j.Name, g, s)
}

// start runs a process of the job in the job's data directory.
func (j *job) start(flags ...string) *kafkatest.Process {
	j.t.Helper()
	return j.startIn(j.data, flags...)
}

// startIn runs a process with a data directory of its own.
func (j *job) startIn(data string, flags ...string) *kafkatest.Process {
	j.t.Helper()
	return j.startAt(j.kafka.address, data, flags...)
}

// startAt runs a process with a data directory and an address of the brokers of
// its own.
func (j *job) startAt(brokers, data string, flags ...string) *kafkatest.Process {
	j.t.Helper()
	args := []string{"start", "--brokers", brokers, "--data", data}
	if j.Program == procdProgram {
		args = append(args, j.file)
	}
	if !slices.Contains(flags, "--admin") {
		args = append(args, "--admin", "off")
	}
	p, err := j.binary.Start(filepath.Dir(j.file), nil, append(args, flags...)...)
	must(j.t, err)
	j.procs = append(j.procs, p)
	return p
}

// command runs another command of procd to its end.
func (j *job) command(name string, args ...string) (stdout, stderr string, code int) {
	j.t.Helper()
	all := append([]string{name}, args...)
	all = append(all, "--brokers", j.kafka.address, "--data", j.data)
	p, code, err := j.binary.Run(within(j.t, time.Minute), filepath.Dir(j.file), nil, all...)
	must(j.t, err)
	return p.Stdout.String(), p.Stderr.String(), code
}

// ends waits for a process to end and returns its exit code.
func (j *job) ends(p *kafkatest.Process, d time.Duration) int {
	j.t.Helper()
	code, err := p.Wait(within(j.t, d))
	must(j.t, err)
	return code
}

// interrupt is Ctrl-C: the process must leave in order.
func (j *job) interrupt(procs ...*kafkatest.Process) {
	j.t.Helper()
	j.signal(syscall.SIGINT, procs...)
}

func (j *job) signal(sig os.Signal, procs ...*kafkatest.Process) {
	j.t.Helper()
	for _, p := range procs {
		if code, err := p.Stop(sig, 20*time.Second); err != nil || code != 0 {
			j.t.Errorf("%v: exit code %d, %v", sig, code, err)
		}
	}
}

// watch starts the reader that reads the output while faults happen.
func (j *job) watch() {
	j.t.Helper()
	var err error
	j.out, err = j.kafka.NewReader(j.Out)
	must(j.t, err)
}

// produce writes events to the input.
func (j *job) produce(events ...event) {
	j.t.Helper()
	must(j.t, j.kafka.Produce(within(j.t, time.Minute), j.records(events)...))
}

func (j *job) records(events []event) []*kgo.Record {
	records := make([]*kgo.Record, len(events))
	for i, e := range events {
		records[i] = e.record(j.In)
	}
	return records
}

// feeder produces events at an even rate until it is stopped.
type feeder struct {
	count atomic.Int64
	stop  func() error
}

// feedEvery is how often a feeder produces.
const feedEvery = 20 * time.Millisecond

// feed starts producing perSecond events of g. The feed survives a broker that
// is away: it goes on where it was.
func (j *job) feed(g *generator, perSecond int) *feeder {
	f := &feeder{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.run(ctx, j, g, perSecond) }()
	f.stop = func() error {
		cancel()
		err, ok := <-done
		if ok {
			close(done) // stopping again is nothing
		}
		return err
	}
	j.t.Cleanup(func() { must(j.t, f.stop()) })
	return f
}

func (f *feeder) run(ctx context.Context, j *job, g *generator, perSecond int) error {
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	start, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			due := int(now.Sub(start).Seconds() * float64(perSecond))
			if due <= sent { // the clock of a virtual machine may jump
				continue
			}
			events := g.events(due - sent)
			sent = due
			// Not ctx: what was begun is ended, or the model would not know
			// what is in the topic.
			if err := j.kafka.Produce(context.Background(), j.records(events)...); err != nil {
				return err
			}
			f.count.Add(int64(len(events)))
		}
	}
}

// eventually waits until check returns nil, and no longer than the processes
// live: one that ended with an error will not make it come true.
func (j *job) eventually(d time.Duration, check func() error) {
	j.t.Helper()
	eventually(j.t, d, func() error {
		if err := errors.Join(j.deaths()...); err != nil {
			return kafkatest.Permanent(err)
		}
		return check()
	})
}

// waitOutput waits until the reader has seen more output than it had before
// since was taken: the job makes progress.
func (j *job) waitOutput(since int, d time.Duration) {
	j.t.Helper()
	j.eventually(d, func() error {
		if n := j.out.Count(); n <= since {
			return fmt.Errorf("%d records of output, waiting for more", n)
		}
		return nil
	})
}

// waitDone waits until the job has committed all of its input.
func (j *job) waitDone(d time.Duration) {
	j.t.Helper()
	j.eventually(d, func() error {
		ctx, cancel := context.WithTimeout(j.t.Context(), 10*time.Second)
		defer cancel()
		return j.kafka.NoLag(ctx, j.group(), j.In)
	})
}

// deaths are processes that ended by themselves with an error that the test
// did not want.
func (j *job) deaths() (errs []error) {
	for i, p := range j.procs {
		if p.Running() || j.ended[p] {
			continue
		}
		if code, _ := p.Wait(context.Background()); code > 0 {
			errs = append(errs, fmt.Errorf("process %d ended with exit code %d", i, code))
		}
	}
	return errs
}
