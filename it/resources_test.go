package it

import (
	"fmt"
	"testing"
	"text/template"
	"time"
)

// threeStoresYAML keeps three states per key, in one stage.
var threeStoresYAML = template.Must(template.New("stores").Parse(`job: {{.Name}}
input:
  topic: {{.In}}
  format: json
  fields: {type: string, room: int, time: long}
  key: room
steps:
  - process: first
    state: {n: long}
    rules: [{set: {n: state.n + 1}, emit: {room, time}}]
  - process: second
    state: {n: long}
    rules: [{set: {n: state.n + 1}, emit: {room, time}}]
  - process: third
    state: {n: long}
    rules: [{set: {n: state.n + 1}, emit: {room, time}}]
output: {topic: {{.Out}}, format: json, key: room}
`))

// idleWindow is how long the CPU time of an idle process is watched.
const idleWindow = 5 * time.Second

// idles waits until a process takes no more than a share of a core over a whole
// window, and logs what it takes. What a start leaves to be done, such as
// compactions, is over then.
func (m metered) idles(share float64) {
	m.t.Helper()
	cpu := func() float64 { return m.sum("process_cpu_seconds_total") }
	since, before := time.Now(), cpu()
	eventually(m.t, 90*time.Second, func() error {
		took := time.Since(since)
		if took < idleWindow {
			return fmt.Errorf("watched for %v", took)
		}
		after := cpu()
		used := (after - before) / took.Seconds()
		since, before = time.Now(), after
		if used > share {
			return fmt.Errorf("%.1f %% of a core in %v", used*100, took)
		}
		m.t.Logf("idle: %.1f %% of a core", used*100)
		return nil
	})
}

// most fails where a metric is above what it may be.
func (m metered) most(name string, most float64) {
	m.t.Helper()
	value := m.sum(name)
	m.t.Logf("%s: %.0f", name, value)
	if value == 0 {
		m.t.Errorf("%s is not exported", name)
	}
	if value > most {
		m.t.Errorf("%s is %.0f, may be %.0f", name, value, most)
	}
}

// TestIdleJobIsSmall: a job of four partitions that has worked, and waits.
func TestIdleJobIsSmall(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Template: threeStoresYAML})
	j.watch()
	p := j.metered(j.data)
	j.produce(newGenerator(run.seed, 300).events(2000)...)
	j.waitDone(30 * time.Second)
	p.idles(0.03)
	p.most("process_resident_memory_bytes", 60e6)
	p.most("process_open_fds", 120)
	p.most("go_goroutines", 120)
	j.interrupt(p.Process)
}
