package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/procd/procd/config"
)

// test runs the tests of a job file.
func (a *app) test() *cobra.Command {
	return &cobra.Command{
		Use:   "test JOB.yaml",
		Short: "Run the tests in a job file, without a broker",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := config.Load(args[0])
			if err != nil {
				return a.invalid(err)
			}
			results, err := file.RunTests()
			if err != nil {
				return err
			}
			return a.tested(args[0], results)
		},
	}
}

// testOutput is how one test ended, as JSON.
type testOutput struct {
	Name     string   `json:"name"`
	Line     int      `json:"line"`
	Passed   bool     `json:"passed"`
	Failures []string `json:"failures,omitempty"`
}

func (a *app) tested(path string, results []config.TestResult) error {
	tests, failed := []testOutput{}, 0
	for _, r := range results {
		passed := len(r.Failures) == 0
		tests = append(tests, testOutput{r.Name, r.Line, passed, r.Failures})
		if !passed {
			failed++
		}
	}
	output := struct {
		FormatVersion int          `json:"format_version"`
		Failed        int          `json:"failed"`
		Tests         []testOutput `json:"tests"`
	}{formatVersion, failed, tests}
	if err := a.print(output, func(w io.Writer) { printTests(w, path, tests) }); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%s: %d of %s failed", path, failed, plural(len(tests), "test"))
	}
	return nil
}

func printTests(w io.Writer, path string, tests []testOutput) {
	if len(tests) == 0 {
		fmt.Fprintf(w, "%s has no tests\n", path)
	}
	for _, t := range tests {
		if t.Passed {
			fmt.Fprintf(w, "ok    %s\n", t.Name)
			continue
		}
		fmt.Fprintf(w, "FAIL  %s (%s:%d)\n", t.Name, path, t.Line)
		for _, f := range t.Failures {
			fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(f, "\n", "\n      "))
		}
	}
}
