package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/topology"
)

// TestResult is how one test of a job file ended.
type TestResult struct {
	Name     string
	Line     int      // of the file
	Failures []string // none: it passed
}

// RunTests runs the tests of the job file, each on a job of its own, in memory.
// The error is that of a job that cannot run at all.
func (j *JobFile) RunTests() ([]TestResult, error) {
	var out []TestResult
	for _, t := range j.tests {
		r := &runner{job: j, test: t}
		if err := r.run(); err != nil {
			return out, err
		}
		out = append(out, TestResult{Name: t.name, Line: t.line, Failures: r.failures})
	}
	return out, nil
}

// runner runs one test.
type runner struct {
	job      *JobFile
	test     *test
	driver   *topology.Driver
	failures []string
}

func (r *runner) failf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *runner) run() error {
	keys, times := r.coordinates()
	now := int64(0)
	for _, at := range times {
		now = max(now, at)
	}
	var err error
	// The clock stands where the records are, so that a test gives the same
	// result whenever it is run.
	if r.driver, err = topology.NewDriver(r.job.job, topology.Clock(time.UnixMilli(now))); err != nil {
		return err
	}
	for i, rec := range r.test.in {
		err := r.driver.Send(r.job.source.topic, keys[i], rec.value, times[i])
		var bad *topology.BadRecord
		if err != nil && !errors.As(err, &bad) {
			r.failf("in[%d]: %v", i, err)
		}
	}
	r.outputs()
	r.rejections()
	return r.states()
}

// coordinates finds each record's key and Kafka timestamp: what the test says,
// or what the fields say.
func (r *runner) coordinates() (keys [][]byte, times []int64) {
	src := r.job.source
	c := src.wire.ForTask()
	for _, rec := range r.test.in {
		key, at := rec.key, int64(0)
		var fr *row.Frame
		if err := c.Decode(rec.value, &fr); err == nil {
			if i := keyIndex(src); i >= 0 && key == nil {
				key, _ = row.AppendText(nil, src.key.Type.Kind, &fr.Slots[src.wire.slots[i]])
			}
			if src.wire.when != nil {
				at = max(fr.Slots[src.wire.when.out].N, 0)
			}
		}
		if rec.time != nil {
			at = *rec.time
		}
		keys, times = append(keys, key), append(times, at)
	}
	return keys, times
}

func keyIndex(src *source) int {
	if src.key == nil {
		return -1
	}
	return row.FieldIndex(src.wire.fields, src.key.Name)
}

func (r *runner) outputs() {
	for topic, want := range r.test.out {
		var got []any
		for _, o := range r.driver.Outputs(topic) {
			got = append(got, outputAny(o.Value))
		}
		r.compare("out", want, got)
	}
}

// outputAny is an output's value: a JSON object, or a text.
func outputAny(b []byte) any {
	if v, err := decodeAny(b); err == nil {
		if m, ok := v.(map[string]any); ok {
			return m
		}
	}
	return map[string]any{"value": string(b)}
}

// compare reports each record that is not as it should be, is missing or is
// one too many.
func (r *runner) compare(what string, want []*yamlpos.Node, got []any) {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			r.failf("%s[%d] is missing: want %s (line %d)", what, i, show(fieldAny(want[i], nil)), want[i].Pos().Line)
		case i >= len(want):
			r.failf("%s[%d] is one too many: %s", what, i, show(got[i]))
		default:
			if d := differ("", likeActual(fieldAny(want[i], nil), got[i]), got[i]); d != "" {
				r.failf("%s[%d] (line %d): %s\n  in %s", what, i, want[i].Pos().Line, d, show(got[i]))
			}
		}
	}
}

// likeActual lets a plain number or true stand for a text where the record has
// a text: YAML needs no quotes for what the job declares as a string.
func likeActual(want, got any) any {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for name := range w {
			w[name] = likeActual(w[name], g[name])
		}
	case json.Number:
		if _, ok := got.(string); ok {
			return string(w)
		}
	case bool:
		if _, ok := got.(string); ok {
			return fmt.Sprint(w)
		}
	}
	return want
}

func (r *runner) rejections() {
	var got []any
	for _, b := range r.driver.Rejected() {
		fields := map[string]any{}
		if i := int(b.Offset); i >= 0 && i < len(r.test.in) {
			for name, v := range r.test.in[i].fields {
				fields[name] = v
			}
		}
		fields["error"] = b.Err.Error()
		got = append(got, fields)
	}
	for i, n := range r.test.rejected {
		if i < len(got) {
			shorten(n, got[i].(map[string]any))
		}
	}
	r.compare("rejected", r.test.rejected, got)
}

// shorten cuts an error to the part that a test expects, if it has that part.
func shorten(n *yamlpos.Node, got map[string]any) {
	part := n.Get("error")
	if part != nil && strings.Contains(got["error"].(string), part.Text) {
		got["error"] = part.Text
	}
}

func (r *runner) states() error {
	if r.test.state == nil {
		return nil
	}
	for _, e := range r.test.state.Entries {
		uid := e.Key.Text
		states, err := topology.StateOf[row.State](r.driver, uid)
		if err != nil {
			return err
		}
		for _, k := range e.Value.Entries {
			r.state(uid, k, states)
		}
	}
	return nil
}

func (r *runner) state(uid string, k yamlpos.Entry, states map[string]row.State) {
	s, ok := states[k.Key.Text]
	what := fmt.Sprintf("state of %s for %s (line %d)", uid, k.Key.Text, k.Key.Pos().Line)
	want := fieldAny(k.Value, nil)
	switch {
	case !ok && want == nil:
	case !ok:
		r.failf("%s: there is none, want %s", what, show(want))
	case want == nil:
		r.failf("%s: %s, want none", what, show(stateAny(r.job.states[uid], s)))
	default:
		got := stateAny(r.job.states[uid], s)
		if d := differ("", likeActual(want, got), got); d != "" {
			r.failf("%s: %s\n  in %s", what, d, show(got))
		}
	}
}

// stateAny is a state as JSON has it; fields never set are zero.
func stateAny(fields []row.Field, s row.State) any {
	slots := make([]int, len(fields))
	all := make([]row.Field, len(fields))
	for i := range fields {
		slots[i], all[i] = i, fields[i]
		all[i].Wire, all[i].Optional = "", true
	}
	fr := row.NewFrame(len(fields))
	if err := row.NewPacker(all, slots).Unpack(s, fr); err != nil {
		return err.Error()
	}
	for i := range fr.Slots {
		if fr.Slots[i].Null && !fields[i].Optional && fields[i].Type.Kind.Scalar() {
			fr.Slots[i] = row.Slot{}
		}
	}
	b, err := row.NewEncoder(all, slots).Append(nil, fr)
	if err != nil {
		return err.Error()
	}
	v, err := decodeAny(b)
	if err != nil {
		return err.Error()
	}
	return v
}
