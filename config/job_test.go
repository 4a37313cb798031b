package config

import (
	"path/filepath"
	"testing"
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
