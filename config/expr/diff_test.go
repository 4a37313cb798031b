package expr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/procd/procd/config/row"
)

// testFields are fields of every kind, required and optional.
var testFields = []row.Field{
	{Name: "b", Type: row.Of(row.Bool)}, // only as record.b
	{Name: "flag", Type: row.Of(row.Bool)}, {Name: "oflag", Type: row.Of(row.Bool), Optional: true},
	{Name: "i", Type: row.Of(row.Int)}, {Name: "n", Type: row.Of(row.Long)}, {Name: "m", Type: row.Of(row.Long)}, {Name: "on", Type: row.Of(row.Long), Optional: true},
	{Name: "d", Type: row.Of(row.Double)}, {Name: "e", Type: row.Of(row.Float)}, {Name: "od", Type: row.Of(row.Double), Optional: true},
	{Name: "s", Type: row.Of(row.String)}, {Name: "t", Type: row.Of(row.String)}, {Name: "os", Type: row.Of(row.String), Optional: true},
	{Name: "y", Type: row.Of(row.Bytes)}, {Name: "time", Type: row.Of(row.Timestamp)},
	{Name: "type", Type: row.Of(row.String)}, {Name: "size", Type: row.Of(row.Long)}, {Name: "max", Type: row.Of(row.Long)},
	{Name: "list", Type: &row.Type{Kind: row.List, Elem: row.Of(row.Long)}, Optional: true},
	{Name: "words", Type: &row.Type{Kind: row.List, Elem: row.Of(row.String)}},
	{Name: "tags", Type: &row.Type{Kind: row.Map, Elem: row.Of(row.Long)}, Optional: true},
	{Name: "pos", Type: posType}, {Name: "opos", Type: posType, Optional: true},
}

var posType = &row.Type{Kind: row.Record, Fields: []row.Field{{Name: "x", Type: row.Of(row.Long)}, {Name: "who", Type: row.Of(row.String), Optional: true}}}

var stateFields = []row.Field{
	{Name: "active", Type: row.Of(row.Bool)}, {Name: "since", Type: row.Of(row.Long)}, {Name: "name", Type: row.Of(row.String)},
	{Name: "last", Type: row.Of(row.String), Optional: true}, {Name: "sum", Type: row.Of(row.Double)},
}

var metaFields = []row.Field{
	{Name: "key", Type: row.Of(row.String), Optional: true}, {Name: "time", Type: row.Of(row.Timestamp)}, {Name: "topic", Type: row.Of(row.String)},
	{Name: "headers", Type: &row.Type{Kind: row.Map, Elem: row.Of(row.String)}},
}

// testScope has the record, the state and meta one after the other.
func testScope(t testing.TB) (*Scope, []row.Field) {
	t.Helper()
	var all []row.Field
	place := func(name string, fields []row.Field) Object {
		o := Object{Name: name, Fields: fields}
		for i := range fields {
			o.Slots = append(o.Slots, len(all)+i)
		}
		all = append(all, fields...)
		return o
	}
	s, err := NewScope(nil, place("record", testFields), place("state", stateFields), place("meta", metaFields))
	if err != nil {
		t.Fatal(err)
	}
	return s, all
}

// expressions returns the corpus: a line each, blank lines and comments aside.
func expressions(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			out = append(out, line)
		}
	}
	return out
}

// TestClosuresAgreeWithCEL evaluates each expression twice on many records: as
// it is compiled, and whole in cel-go.
func TestClosuresAgreeWithCEL(t *testing.T) {
	s, all := testScope(t)
	r := rand.New(rand.NewPCG(7, 7))
	for _, src := range expressions(t) {
		e, issues := s.Compile(src)
		if len(issues) > 0 {
			t.Errorf("%s: %+v", src, issues)
			continue
		}
		oracle := wholeInCEL(t, s, src)
		for range 300 {
			f := row.NewFrame(len(all))
			for i := range all {
				f.Slots[i] = randomSlot(r, all[i].Type, all[i].Optional || i >= len(testFields) && i < len(testFields)+len(stateFields))
			}
			if got, want := outcome(e.node, e.node.class, f), outcome(oracle, e.node.class, f); got != want {
				t.Errorf("%s\n  closures: %s\n  cel-go:   %s\n  record: %+v", src, got, want, describe(all, f))
				break
			}
		}
	}
}

func wholeInCEL(t *testing.T, s *Scope, src string) node {
	t.Helper()
	checked, iss := s.env.Compile(src)
	if iss.Err() != nil {
		t.Fatal(iss.Err())
	}
	c := &compiler{scope: s, tree: checked.NativeRep()}
	n := c.fallback(c.tree.Expr())
	if c.err != nil {
		t.Fatal(c.err)
	}
	return n
}

func outcome(n node, c class, f *row.Frame) string {
	var s row.Slot
	if err := n.store(f, &s); err != nil {
		return "error: " + err.Error()
	}
	if s.Null && c == other {
		return `0 "" []` // a missing list, map or record reads as empty
	}
	if s.Null {
		return "null"
	}
	if c == double && math.IsNaN(s.Double()) {
		return "NaN" // which of them is not promised
	}
	return fmt.Sprintf("%d %q %v", s.N, s.S, plain(s.L))
}

func plain(l []row.Slot) any {
	var out []any
	for _, s := range l {
		out = append(out, s.Null, s.N, s.S, plain(s.L))
	}
	return out
}

func describe(all []row.Field, f *row.Frame) string {
	var b []byte
	for i := range all {
		v, err := row.NewEncoder(all[i:i+1], []int{i}).Append(nil, f)
		if err != nil {
			v = []byte(err.Error())
		}
		b = append(append(b, v...), ' ')
	}
	return string(b)
}

var hostile = []string{"", "a", "motion", "é", "日本語", "a\x00b", "\U0001F600", "12", "-9223372036854775808", "9223372036854775808", "1e5", "true", "nan", " 1", "%s", strings.Repeat("x", 300)}

func randomSlot(r *rand.Rand, t *row.Type, nullable bool) row.Slot {
	if nullable && r.IntN(3) == 0 {
		return row.Slot{Null: true}
	}
	var s row.Slot
	switch t.Kind {
	case row.Bool:
		s.SetBool(r.IntN(2) == 0)
	case row.Int:
		s.SetWhole([]int64{0, 1, -1, math.MaxInt32, math.MinInt32}[r.IntN(5)])
	case row.Long, row.Timestamp:
		s.SetWhole([]int64{0, 1, -1, 2, 7, math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1, r.Int64(), r.Int64N(10)}[r.IntN(11)])
	case row.Float, row.Double:
		s.SetDouble([]float64{0, math.Copysign(0, -1), 1.5, -2, 1e300, math.Inf(1), math.NaN(), 1 << 63, r.NormFloat64(), 1e21, 3}[r.IntN(11)])
	case row.String, row.Bytes:
		s.SetString(hostile[r.IntN(len(hostile))])
	case row.List:
		s.L = []row.Slot{}
		for range r.IntN(4) {
			s.L = append(s.L, randomSlot(r, t.Elem, false))
		}
	case row.Map:
		for range r.IntN(4) {
			s.L = append(s.L, row.Slot{S: hostile[r.IntN(len(hostile))], L: []row.Slot{randomSlot(r, t.Elem, false)}})
		}
		s.L = row.SortEntries(s.L)
	case row.Record:
		for _, f := range t.Fields {
			s.L = append(s.L, randomSlot(r, f.Type, f.Optional))
		}
	}
	return s
}

// TestHotExpressionsNeedNoCEL: what jobs do for each record has closures.
func TestHotExpressionsNeedNoCEL(t *testing.T) {
	s, all := testScope(t)
	f := row.NewFrame(len(all))
	for i := range all {
		f.Slots[i] = row.Slot{N: 1, S: "motion"}
	}
	for _, src := range []string{
		`type in ["activate", "deactivate", "motion"]`,
		`type == "motion" && state.active && time - state.since > 5000`,
		`"alarm in " + string(i)`, `math.greatest(n, m)`, `floorTo(time, "20s") + ms("5m")`, `os == null ? "nobody" : os`,
		`has(state.since) && !(n % 2 == 0 || s.startsWith("x") || size(t) > 3)`, `pos.x + 1`, `double(n) * 1.5`, `meta.time / 60000`,
	} {
		e, issues := s.Compile(src)
		if len(issues) > 0 {
			t.Errorf("%s: %v", src, issues)
			continue
		}
		var dst row.Slot
		if n := testing.AllocsPerRun(100, func() {
			f.Begin()
			if err := e.Eval(f, &dst); err != nil {
				t.Fatal(src, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", src, n)
		}
	}
}

func TestMapsAreWalkedInOrder(t *testing.T) {
	s, all := testScope(t)
	f := row.NewFrame(len(all))
	tags := row.FieldIndex(testFields, "tags")
	for c := 'z'; c >= 'a'; c-- {
		f.Slots[tags].L = append(f.Slots[tags].L, row.Slot{S: string(c), L: []row.Slot{{N: int64(c)}}})
	}
	f.Slots[tags].Null = false
	f.Slots[tags].L = row.SortEntries(f.Slots[tags].L)
	for src, want := range map[string]string{
		`tags.map(k, k).join()`:                               "abcdefghijklmnopqrstuvwxyz",
		`{"c": 1, "a": 2, "b": 3, "d": n}.map(k, k).join()`:   "abcd",
		`{"c": 1, "a": 2, "b": 3}.map(k, k).join()`:           "abc",
		`{3: "c", 1: "a", 2: "b"}.map(k, string(k)).join()`:   "123",
		`{"x": {"c": 1, "a": 2, "b": n}}.x.map(k, k).join()`:  "abc",
		`[{"c": 1, "a": 2, "b": n}][0].map(k, k).join()`:      "abc",
		`(flag ? {"b": 1, "a": 2} : tags).map(k, k).join("")`: "abcdefghijklmnopqrstuvwxyz",
	} {
		e, issues := s.Compile(src)
		if len(issues) > 0 {
			t.Errorf("%s: %v", src, issues)
			continue
		}
		for range 20 {
			if got, err := e.Text(f); err != nil || got != want {
				t.Errorf("%s: %q, %v", src, got, err)
				break
			}
		}
	}
}

func TestEvaluationEnds(t *testing.T) {
	s, all := testScope(t)
	f := row.NewFrame(len(all))
	e, issues := s.Compile(`lists.range(3000).all(x, lists.range(3000).all(y, lists.range(3000).all(z, x + y + z >= 0)))`)
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	if _, err := e.Bool(f); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("27 billion steps: %v", err)
	}
	if e, issues = s.Compile(`size(lists.range(1000000000)) > 0`); len(issues) > 0 {
		t.Fatal(issues)
	}
	if _, err := e.Bool(f); err == nil {
		t.Error("a list of a billion numbers was made")
	}
}

func TestTypesFlow(t *testing.T) {
	s, _ := testScope(t)
	for src, want := range map[string]string{
		"i": "int", "i + 1": "long", "record.i": "int", "time": "timestamp", "time + 1": "long", "e": "float", "e * 2.0": "double", "os": "string?",
		"flag ? on : null": "long?", "list": "[long]?", "list.map(x, string(x))": "[string]", `{"a": n}`: "{string: long}", "pos": "{x: long, who?: string}",
		"words[0]": "string", "pos.who": "string?", "[pos, opos]": "[{x: long, who?: string}]", "state.active": "bool", "y": "bytes", "hash(s)": "long",
		`state.name == "" ? s : state.name`: "string",
	} {
		e, issues := s.Compile(src)
		if len(issues) > 0 {
			t.Errorf("%s: %v", src, issues)
			continue
		}
		got := fmt.Sprint(e.Storable())
		if e.Storable() == nil {
			got = e.Type.String()
			if e.Optional {
				got += "?"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
	}
}

func TestUnstorable(t *testing.T) {
	s, _ := testScope(t)
	for _, src := range []string{`timestamp("2026-01-01T00:00:00Z")`, `duration("5m")`, `1u`, `[]`, `{"a": 1, "b": "x"}`, `{1: 2}`, `null`, `type(n)`, `optional.of(1)`} {
		e, issues := s.Compile(src)
		if len(issues) > 0 {
			t.Errorf("%s: %v", src, issues)
			continue
		}
		if e.Storable() == nil {
			t.Errorf("%s is a %v", src, e.Type)
		}
	}
}

func TestUsedSlots(t *testing.T) {
	used := map[int]bool{}
	s, err := NewScope(func(i int) { used[i] = true }, Object{Name: "record", Fields: testFields, Slots: counted(len(testFields))})
	if err != nil {
		t.Fatal(err)
	}
	if _, issues := s.Compile(`n > 1 && record.s == "x" && has(record.os) && pos.x == 2`); len(issues) > 0 {
		t.Fatal(issues)
	}
	want := map[int]bool{}
	for _, name := range []string{"n", "s", "os", "pos"} {
		want[row.FieldIndex(testFields, name)] = true
	}
	if !reflect.DeepEqual(used, want) {
		t.Errorf("used %v, want %v", used, want)
	}
}

func counted(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestIssues(t *testing.T) {
	s, _ := testScope(t)
	for src, want := range map[string]string{
		`tpye == "x"`:           `0 unknown name "tpye" | did you mean type?`,
		`n + 1.5`:               `2 + does not work on int, double | a whole number and a double do not mix: write 2.0 for 2, or double(x)`,
		`on + 1.5`:              `3 + does not work on int?, double | a whole number and a double do not mix: write 2.0 for 2, or double(x)`,
		`s + n`:                 `2 + does not work on string, int | text is joined with text: write string(x)`,
		`n = 1`:                 `2 unexpected '= ' | a comparison is written ==`,
		`a + 1`:                 `0 there is no "a" here | a and b exist in a reduce step`,
		`b`:                     `0 "b" means something else here | the field is record.b`,
		`namespace == 1`:        `0 "namespace" is a reserved word of expressions | give the field another name here with input.names: {namespace_: "namespace"}`,
		`s == "x" &&`:           `11 the expression ends too early | `,
		`state.sinc > 1`:        `5 there is no field "sinc" | did you mean since?`,
		"s == 'é' &&\n  x9 > 1": `15 unknown name "x9" | text goes into quotes: 'x9'`,
		`s == null`:             `2 == does not work on string, null | only a field with ? can be null`,
	} {
		_, issues := s.Compile(src)
		if len(issues) == 0 {
			t.Errorf("%s: no issue", src)
			continue
		}
		if got := fmt.Sprintf("%d %s | %s", issues[0].Offset, issues[0].Msg, issues[0].Hint); got != want {
			t.Errorf("%s\n got %s\nwant %s", src, got, want)
		}
	}
}

func BenchmarkPredicate(b *testing.B) {
	s, all := testScope(b)
	f := row.NewFrame(len(all))
	for i := range all {
		f.Slots[i] = row.Slot{N: 9000, S: "motion"}
	}
	src := `type == "motion" && state.active && time - state.since > 5000`
	e, _ := s.Compile(src)
	b.Run("closures", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = e.Bool(f)
		}
	})
	checked, _ := s.env.Compile(src)
	prg, _ := s.env.Program(checked, cel.CustomDecorator(sortMaps))
	b.Run("cel-go", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = prg.Eval(&activation{scope: s, frame: f})
		}
	})
}
