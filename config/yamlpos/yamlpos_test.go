package yamlpos

import (
	"strings"
	"testing"
)

// Each ^N^ in a value marks a place: the test strips the marks from the file,
// and asks for the place of the word behind each in the scalar's text.
func TestPlacesInsideScalars(t *testing.T) {
	for name, src := range map[string]string{
		"plain":                "a: one WORD two",
		"plain over two lines": "a: one\n   two  \n  WORD",
		"plain in flow":        "a: {x: [1, b c WORD], y}",
		"comments before":      "# c: 'x'\n\na: 1 # \"no\n# more: {\nb: x WORD",
		"single quoted":        "a: 'it''s one WORD'",
		"single, two lines":    "a: 'one  \n\n   two WORD'",
		"double quoted":        `a: "tab \t \"q\" \u00e9 \\ WORD"`,
		"double, continued":    "a: \"one \\\n    two WORD\"",
		"literal":              "a: |\n  one\n    two\n\n  x WORD\nb: c",
		"literal, keep":        "a:\n  - |+\n    one WORD\n\n\n  - x",
		"folded":               "a: >-\n  one\n  two\n\n  x\n  WORD\nb: c",
		"folded, more indent":  "a: >\n  one\n    two\n  WORD\n",
		"behind a block":       "a: |\n  text\n# comment\nb: WORD",
		"characters":           "a: 'äöü 日本 WORD'",
		"json keys":            `{"a":1,"b":"WORD"}`,
		"dashes":               "a:\n- - -x\n  - --- y WORD",
		"crlf":                 "a: |\r\n  one\r\n  WORD\r\nb: c\r\n",
		"block in list":        "- x: >\n    one\n    WORD\n  y: z",
	} {
		t.Run(name, func(t *testing.T) {
			root, problems := Parse([]byte(src))
			if len(problems) > 0 {
				t.Fatalf("%v", problems[0])
			}
			n := find(root)
			if n == nil {
				t.Fatal("no scalar holds WORD")
			}
			at := strings.Index(src, "WORD")
			want := newFile([]byte(src)).pos(at)
			if got := n.At(strings.Index(n.Text, "WORD")); got != want {
				t.Errorf("WORD is at %v, want %v (text %q)", got, want, n.Text)
			}
		})
	}
}

func find(n *Node) *Node {
	if n.Kind == Scalar && strings.Contains(n.Text, "WORD") {
		return n
	}
	for _, e := range n.Entries {
		if f := find(e.Value); f != nil {
			return f
		}
	}
	for _, i := range n.Items {
		if f := find(i); f != nil {
			return f
		}
	}
	return nil
}

func TestRefused(t *testing.T) {
	for src, want := range map[string]string{
		"a: !x b":             "1:4: YAML tags are not accepted",
		"a: &x b\nc: *x":      "1:4: YAML anchors are not accepted",
		"a: {<<: x}":          "1:5: YAML merge keys are not accepted",
		"? a\n: b":            "1:1: a key must be a plain or quoted text",
		"a: b\n---\nc: d":     "3:1: a second document: a job file holds one",
		"a: {x: a ? b : c}":   "1:14: a colon followed by a blank inside a plain text",
		"a: \xff":             "1:4: the file is not valid UTF-8 here",
		"a: b\n\tc: d":        "2:1: found character '\t' that cannot start any token",
		"a: \"x\" == b":       "1:8: value is not allowed in this context. map key-value is pre-defined",
		"a: !x {b: c}\nd: !y": "1:4: YAML tags are not accepted",
	} {
		_, problems := Parse([]byte(src))
		if len(problems) == 0 {
			t.Errorf("%q: no problem, want %q", src, want)
			continue
		}
		if got := problems[0].Error(); got != want {
			t.Errorf("%q: got %q, want %q", src, got, want)
		}
	}
}

func TestAbsentCommentsAndStyles(t *testing.T) {
	root, problems := Parse([]byte("a: {x, y: ~}\nb: text # why\nc: 'q'\nd:\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	x := root.Get("a").Entries[0]
	if x.Value.Style != Absent || x.Key.Pos() != (Pos{1, 5}) {
		t.Errorf("x: %+v", x.Value)
	}
	if y := root.Get("a").Entries[1]; y.Value.Text != "~" || y.Value.Pos() != (Pos{1, 11}) {
		t.Errorf("y: %+v", y.Value)
	}
	if b := root.Get("b"); b.Comment != "# why" || b.Style != Plain {
		t.Errorf("b: %+v", b)
	}
	if c := root.Get("c"); c.Style != SingleQuoted || c.Comment != "" {
		t.Errorf("c: %+v", c)
	}
	if d := root.Get("d"); d == nil || d.Style != Absent {
		t.Errorf("d: %+v", d)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: b", "a: |\n  x", "{a, b: [c]}", "a: \"\\u00e9\\\n b\"", "- 'x''y'", "? a\n: b", "a: >-\n\n  x\n y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		root, problems := Parse(src)
		if root == nil && len(problems) == 0 {
			t.Fatal("neither a tree nor a problem")
		}
		if root != nil {
			visit(root)
		}
	})
}

func visit(n *Node) {
	n.Pos()
	for i := range len(n.Text) + 1 {
		n.At(i)
	}
	for _, e := range n.Entries {
		visit(e.Key)
		visit(e.Value)
	}
	for _, i := range n.Items {
		visit(i)
	}
}
