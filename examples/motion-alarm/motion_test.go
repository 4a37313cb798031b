package motion_test

import (
	"strings"
	"testing"

	"github.com/procd/procd/config"
	motion "github.com/procd/procd/examples/motion-alarm"
)

// The tests in the job files pass.
func TestJobFiles(t *testing.T) {
	for _, file := range []string{"motion-alarm-v1.yaml", "motion-alarm-v2.yaml"} {
		job, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		results, err := job.RunTests()
		if err != nil || len(results) == 0 {
			t.Fatalf("%s: %d tests, %v", file, len(results), err)
		}
		for _, r := range results {
			for _, failure := range r.Failures {
				t.Errorf("%s: %s: %s", file, r.Name, failure)
			}
		}
	}
}

// One line tells the versions apart.
func TestVersionsDiffer(t *testing.T) {
	v1, v2 := lines(motion.V1), lines(motion.V2)
	if len(v1) != len(v2) {
		t.Fatalf("%d and %d lines", len(v1), len(v2))
	}
	var changed []string
	for i := range v1 {
		if v1[i] != v2[i] {
			changed = append(changed, strings.TrimSpace(v2[i]))
		}
	}
	if len(changed) != 1 || changed[0] != `- when: type == "motion" && state.active && time - state.since > 5000` {
		t.Errorf("changed: %q", changed)
	}
}

// lines are those of the job, without comment and tests.
func lines(file string) []string {
	_, job, _ := strings.Cut(file, "job: ")
	job, _, _ = strings.Cut(job, "tests:")
	return strings.Split(job, "\n")
}
