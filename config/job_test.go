package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/procd/procd/topology"
)

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*/*.yaml")
	jobs, _ := filepath.Glob("testdata/jobs/*.yaml")
	files = append(files, jobs...)
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			j, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			results, err := j.RunTests()
			if err != nil || len(results) == 0 {
				t.Fatalf("%d tests, %v", len(results), err)
			}
			for _, r := range results {
				for _, f := range r.Failures {
					t.Errorf("%s: %s", r.Name, f)
				}
			}
		})
	}
}

// TestFailingTests: a test of a job file that fails says where and how.
func TestFailingTests(t *testing.T) {
	j, err := Load("testdata/failing/tests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	results, err := j.RunTests()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "line %d: %s\n", r.Line, r.Name)
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	golden(t, "testdata/failing/tests.txt", b.String())
}

func TestTypes(t *testing.T) {
	var b strings.Builder
	for _, file := range []string{"testdata/jobs/stateless.yaml", "testdata/jobs/key-reduce.yaml", "testdata/jobs/process.yaml", "testdata/jobs/text.yaml"} {
		j, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s, commit %v\n%s\n", j.Name, j.Commit, j.Types())
	}
	golden(t, "testdata/jobs/types.txt", b.String())
}

func TestNoFile(t *testing.T) {
	_, err := Load("testdata/none.yaml")
	var mistakes Errors
	if !errors.As(err, &mistakes) || err.Error() != "testdata/none.yaml: there is no such file" {
		t.Errorf("%v", err)
	}
	if _, err = LoadSettings("testdata/none.yaml"); !errors.As(err, &mistakes) {
		t.Errorf("%v", err)
	}
}

func TestSavepoints(t *testing.T) {
	const job = "job: x\ninput: {topic: in, fields: {a: int}}\noutput: {topic: out}\n"
	for text, want := range map[string]topology.Schedule{
		"":                                    {},
		"savepoints: {every: 6h, keep: 28}\n": {Every: 6 * time.Hour, Keep: 28},
		"savepoints: {every: 7d}\n":           {Every: 7 * 24 * time.Hour},
	} {
		j, err := Parse("x.yaml", []byte(job+text))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := j.Job().Plan()
		if err != nil || plan.Savepoints != want {
			t.Errorf("%q: %+v, %v", text, plan.Savepoints, err)
		}
	}
}
