package config

import (
	"os"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	x := newExpander("/dir")
	x.lookup = func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": "", "REF": "${A}"}[name]
		return v, ok
	}
	x.read = func(path string) ([]byte, error) {
		if path == "/dir/secret" {
			return []byte("s\n"), nil
		}
		return nil, os.ErrNotExist
	}
	for in, want := range map[string]string{
		"plain $A": "plain $A", "x${A}y${A}": "x1y1", "${B:-def}": "def", "${EMPTY:-def}": "def", "${EMPTY}": "", "$${A}": "${A}",
		"${file:secret}": "s", "${B:-}": "", "${REF}": "${A}", "${B:-a:-b}": "a:-b",
	} {
		if got, _, err := x.expand(in); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	for in, at := range map[string]int{"ab${B}": 2, "${A": 0, "${}": 0, "${A}${file:none}": 4, "${A B}": 0} {
		if _, i, err := x.expand(in); err == nil || i != at {
			t.Errorf("%s: at %d, %v, want an error at %d", in, i, err, at)
		}
	}
}

// TestVariablesDefineTheJob: other values are another job, and no value shows.
func TestVariablesDefineTheJob(t *testing.T) {
	src := "job: x\ninput: {topic: in, fields: {id: int}, names: {id: \"${PROCD_ID}\"}}\noutput: {topic: out}\n"
	hash := func(value string) string {
		t.Setenv("PROCD_ID", value)
		j, err := Parse("x.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := j.Job().Plan()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plan.Definition, value) {
			t.Error("the definition shows the value")
		}
		return plan.Hash
	}
	if a, b := hash("first-value"), hash("second-value"); a == b {
		t.Error("two values, one hash")
	} else if a != hash("first-value") {
		t.Error("one value, two hashes")
	}
}
