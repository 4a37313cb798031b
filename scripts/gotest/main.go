// Command gotest reads the output of go test -json on standard input, prints
// a line per package and what failing tests printed, and ends with the counts
// of tests. It exits 1 if anything failed, or if nothing passed.
//
//	go test -json ./... | go run ./scripts/gotest
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
	fmt.Println(r.summary())
	if r.failed > 0 || r.passed == 0 {
		os.Exit(1)
	}
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64
}

type report struct {
	out                     io.Writer
	passed, failed, skipped int

	output  map[string]*strings.Builder // by package and test, until it ends
	parents map[string]bool             // tests that have subtests
	broken  map[string]bool             // packages with a failed test
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[string]*strings.Builder{}, parents: map[string]bool{}, broken: map[string]bool{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// Not from a test: go itself has something to say.
			fmt.Fprintln(r.out, lines.Text())
			continue
		}
		r.event(e)
	}
	return lines.Err()
}

func (r *report) event(e event) {
	id := e.Package + e.ImportPath + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		if r.output[id] == nil {
			r.output[id] = &strings.Builder{}
		}
		r.output[id].WriteString(e.Output)
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			r.parents[e.Package+" "+e.Test[:i]] = true
		}
	case "build-fail":
		r.print(id)
		delete(r.output, id)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, id)
		} else {
			r.endTest(e, id)
		}
		delete(r.output, id)
	}
}

func (r *report) print(id string) {
	if out := r.output[id]; out != nil {
		fmt.Fprint(r.out, out)
	}
}

// endTest counts leaves only: a test with subtests is their sum.
func (r *report) endTest(e event, id string) {
	switch {
	case e.Action == "fail":
		r.broken[e.Package] = true
		r.print(id)
		if !r.parents[id] {
			r.failed++
		}
	case r.parents[id]:
	case e.Action == "skip":
		r.print(id)
		r.skipped++
	default:
		r.passed++
	}
}

// endPackage counts a package that failed without a failed test (it did not
// compile, or it crashed) as one failure.
func (r *report) endPackage(e event, id string) {
	if e.Action == "fail" && !r.broken[e.Package] {
		r.failed++
	}
	if e.Action == "fail" {
		r.print(id)
		for unfinished := range r.output {
			if strings.HasPrefix(unfinished, e.Package+" ") && unfinished != id {
				r.print(unfinished)
			}
		}
	}
	if e.Action != "skip" {
		fmt.Fprintf(r.out, "%s\t%s\t%.1fs\n", e.Action, e.Package, e.Elapsed)
	}
}

func (r *report) summary() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", r.passed, r.failed, r.skipped)
}
