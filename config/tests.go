package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
)

// test is one entry of tests:, read and checked.
type test struct {
	name     string
	line     int
	in       []testRecord
	out      map[string][]*yamlpos.Node // by topic; a topic that is not named is not looked at
	rejected []*yamlpos.Node
	state    *yamlpos.Node
}

// testRecord is one record of a test's input.
type testRecord struct {
	value  []byte
	fields map[string]any
	key    []byte // of meta.key; nil: by the input's key field
	time   *int64 // of meta.time; nil: the event time field
}

// maxTestLine bounds a line of a file of records.
const maxTestLine = 16 << 20

// tests reads the tests of a file; dir is where their own files are.
func (r *reader) tests(n *yamlpos.Node, j *JobFile, dir string) []*test {
	if n.Kind != yamlpos.List {
		r.errorAt(n, "tests", "each test begins with a dash", "tests are a list, not %s", n.Kind)
		return nil
	}
	var out []*test
	for i, item := range n.Items {
		s := r.section(item, testObject, fmt.Sprintf("tests[%d]", i))
		if s == nil {
			continue
		}
		tr := &testReader{reader: r, job: j, dir: dir, test: &test{line: item.Pos().Line}}
		tr.read(s)
		out = append(out, tr.test)
	}
	return out
}

type testReader struct {
	*reader
	job  *JobFile
	dir  string
	test *test
}

func (r *testReader) read(s *section) {
	t := r.test
	if t.name, _ = s.text("name"); t.name == "" {
		t.name = s.at
	}
	if n := s.found["in"]; n != nil {
		r.in(n, s.path("in"))
	}
	if n := s.found["out"]; n != nil {
		r.out(n, s.path("out"))
	}
	if n := s.found["rejected"]; n != nil {
		t.rejected = r.list(n, s.path("rejected"))
	}
	if n := s.found["state"]; n != nil {
		r.state(n, s.path("state"))
	}
}

func (r *testReader) list(n *yamlpos.Node, at string) []*yamlpos.Node {
	if n.Kind != yamlpos.List {
		r.errorAt(n, at, "[] is none", "a list of records is expected here, not %s", orNothing(n))
		return nil
	}
	for i, item := range n.Items {
		if item.Kind != yamlpos.Map {
			r.errorAt(item, fmt.Sprintf("%s[%d]", at, i), "", "a record is a map of fields, not %s", orNothing(item))
			return nil
		}
	}
	if n.Items == nil {
		return []*yamlpos.Node{}
	}
	return n.Items
}

func (r *testReader) in(n *yamlpos.Node, at string) {
	if n.Kind == yamlpos.Scalar {
		r.inFile(n, at)
		return
	}
	for i, item := range r.list(n, at) {
		r.record(item, fmt.Sprintf("%s[%d]", at, i))
	}
}

// inFile reads a file of one JSON object per line, as they are.
func (r *testReader) inFile(n *yamlpos.Node, at string) {
	path, ok := r.text(n, at)
	if !ok {
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		r.errorAt(n, at, "", "%s", reason(err))
		return
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxTestLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		rec := testRecord{value: slices.Clone(line)}
		if v, err := decodeAny(line); err == nil {
			rec.fields, _ = v.(map[string]any)
		}
		r.test.in = append(r.test.in, rec)
	}
	if err := lines.Err(); err != nil {
		r.errorAt(n, at, "", "%v", err)
	}
}

func (r *testReader) record(n *yamlpos.Node, at string) {
	rec := testRecord{fields: map[string]any{}}
	src := r.job.source
	for _, e := range n.Entries {
		name := e.Key.Text
		switch i := wireIndex(src.wire.fields, name); {
		case name == "advance" && i < 0:
			r.errorAt(e.Key, at, "", "\"advance\" is not supported yet")
		case name == "meta.key":
			rec.key = []byte(e.Value.Text)
		case name == "meta.time":
			rec.time = r.time(e.Value, at)
		case i < 0:
			r.errorAt(e.Key, at, r.nearField(name, src.wire.fields), "the input has no field %q", name)
		default:
			rec.fields[name] = fieldAny(e.Value, src.wire.fields[i].Type)
		}
	}
	rec.value = encodeTest(src.wire.format, rec.fields)
	r.test.in = append(r.test.in, rec)
}

func (r *testReader) time(n *yamlpos.Node, at string) *int64 {
	ms, err := strconv.ParseInt(n.Text, 10, 64)
	if err != nil {
		r.errorAt(n, at, "", "meta.time is in milliseconds")
	}
	return &ms
}

func wireIndex(fields []row.Field, name string) int {
	return slices.IndexFunc(fields, func(f row.Field) bool { return f.OnWire() == name })
}

func encodeTest(format string, fields map[string]any) []byte {
	if format != "json" {
		text, _ := fields["value"].(string)
		return []byte(text)
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return []byte("{}") // json.Number holds only what fieldAny took for a number
	}
	return b
}

// fieldAny is a YAML value as JSON has it. Where the field is a text a plain
// number or true is one too.
func fieldAny(n *yamlpos.Node, t *row.Type) any {
	if t != nil && n.Kind == yamlpos.Scalar && n.Style == yamlpos.Plain && (t.Kind == row.String || t.Kind == row.Bytes) && n.Text != "null" && n.Text != "~" {
		return n.Text
	}
	switch n.Kind {
	case yamlpos.Map:
		m := map[string]any{}
		for _, e := range n.Entries {
			m[e.Key.Text] = fieldAny(e.Value, innerType(t, e.Key.Text))
		}
		return m
	case yamlpos.List:
		l := []any{}
		for _, item := range n.Items {
			l = append(l, fieldAny(item, innerType(t, "")))
		}
		return l
	}
	return scalarAny(n)
}

func innerType(t *row.Type, name string) *row.Type {
	switch {
	case t == nil:
		return nil
	case t.Elem != nil:
		return t.Elem
	}
	if i := wireIndex(t.Fields, name); i >= 0 {
		return t.Fields[i].Type
	}
	return nil
}

func scalarAny(n *yamlpos.Node) any {
	if n.Style != yamlpos.Plain && n.Style != yamlpos.Absent {
		return n.Text
	}
	switch n.Text {
	case "", "null", "~":
		return nil
	case "true":
		return true
	case "false":
		return false
	}
	if json.Valid([]byte(n.Text)) {
		return json.Number(n.Text)
	}
	return n.Text
}

func (r *testReader) out(n *yamlpos.Node, at string) {
	r.test.out = map[string][]*yamlpos.Node{}
	if n.Kind != yamlpos.Map {
		r.test.out[r.job.output] = r.list(n, at)
		return
	}
	for _, e := range n.Entries {
		if e.Key.Text != r.job.output {
			r.errorAt(e.Key, at, "there is "+r.job.output, "the job does not write to %q", e.Key.Text)
			continue
		}
		r.test.out[e.Key.Text] = r.list(e.Value, join(at, e.Key.Text))
	}
}

// state checks that what a test says of states can be there.
func (r *testReader) state(n *yamlpos.Node, at string) {
	r.test.state = n
	if n.Kind != yamlpos.Map {
		r.errorAt(n, at, "write {uid: {key: {field: value}}}", "state is a map, not %s", orNothing(n))
		r.test.state = nil
		return
	}
	for _, e := range n.Entries {
		fields, ok := r.job.states[e.Key.Text]
		if !ok {
			r.errorAt(e.Key, at, "", "no step with a state is called %q", e.Key.Text)
			continue
		}
		if e.Value.Kind != yamlpos.Map {
			r.errorAt(e.Value, at, "write {key: {field: value}}", "the states of a step are a map by key")
			continue
		}
		for _, k := range e.Value.Entries {
			for _, g := range k.Value.Entries {
				if row.FieldIndex(fields, g.Key.Text) < 0 {
					r.errorAt(g.Key, join(at, e.Key.Text), r.nearField(g.Key.Text, fields), "the state has no field %q", g.Key.Text)
				}
			}
		}
	}
}

// decodeAny reads JSON keeping numbers as they are written.
func decodeAny(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// differ says how actual differs from what a test expects, "" if it does not.
// Of maps only what is named is compared.
func differ(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %s, want a record", at, show(got))
		}
		var out []string
		for _, name := range sortedNames(w) {
			if d := differ(strings.TrimPrefix(at+"."+name, "."), w[name], g[name]); d != "" {
				out = append(out, d)
			}
		}
		return strings.Join(out, "; ")
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %s, want %s", at, show(got), show(want))
		}
		for i := range w {
			if d := differ(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); d != "" {
				return d
			}
		}
		return ""
	case json.Number:
		if g, ok := got.(json.Number); ok && sameNumber(w, g) {
			return ""
		}
	default:
		if want == got {
			return ""
		}
	}
	return fmt.Sprintf("%s is %s, want %s", at, show(got), show(want))
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if !strings.ContainsAny(string(a+b), ".eE") {
		return false // whole numbers are compared exactly
	}
	x, err1 := a.Float64()
	y, err2 := b.Float64()
	return err1 == nil && err2 == nil && x == y
}

func sortedNames(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func show(v any) string {
	if v == nil {
		return "null"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
