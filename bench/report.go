package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// spread is what several runs measured of one thing.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]}
}

// result is one engine on one workload.
type result struct {
	Workload string            `json:"workload"`
	Engine   string            `json:"engine"`
	Records  int               `json:"records"`
	Runs     int               `json:"runs"`
	Figures  map[string]spread `json:"figures"`

	values map[string][]float64
}

// report is everything that was measured, in order.
type report struct {
	FormatVersion int       `json:"format_version"`
	Started       time.Time `json:"started"`
	Seconds       float64   `json:"seconds"`
	Revision      string    `json:"revision,omitempty"`
	Go            string    `json:"go"`
	CPUs          int       `json:"cpus"`
	Command       []string  `json:"command"`
	LeftOut       []string  `json:"left_out,omitempty"`
	Void          []string  `json:"void,omitempty"`
	Results       []*result `json:"results"`
}

func newReport(args []string) *report {
	r := &report{FormatVersion: 1, Started: time.Now().UTC(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Command: args}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				r.Revision = s.Value
			}
		}
	}
	return r
}

// add adds what one run measured. The output of that run was checked.
func (r *report) add(workload, engine string, records int, f figures) {
	found := r.find(workload, engine)
	if found == nil {
		found = &result{Workload: workload, Engine: engine, Records: records, Figures: map[string]spread{}, values: map[string][]float64{}}
		r.Results = append(r.Results, found)
	}
	found.Runs++
	for name, v := range f {
		found.values[name] = append(found.values[name], v)
		found.Figures[name] = spreadOf(found.values[name])
	}
}

func (r *report) find(workload, engine string) *result {
	for _, found := range r.Results {
		if found.Workload == workload && found.Engine == engine {
			return found
		}
	}
	return nil
}

// ratio is the rate of procd over that of a peer, or 0 if one was not measured.
func (r *report) ratio(w *workload, peer string) float64 {
	of := cmp.Or(w.peersOf, w.name)
	ours, theirs := r.find(w.name, procdEngine.name), r.find(of, peer)
	if ours == nil || theirs == nil {
		return 0
	}
	return ours.Figures[rate].Median / theirs.Figures[rate].Median
}

// columns of a table: a heading and how the figure under it is written.
type column struct {
	heading, figure string
	text            func(spread) string
}

func in(unit float64, format string) func(spread) string {
	return func(s spread) string { return fmt.Sprintf(format, s.Median/unit) }
}

var drainColumns = []column{
	{"rec/s", rate, in(1e3, "%.0f k")},
	{"min..max", rate, func(s spread) string { return fmt.Sprintf("%.0f..%.0f k", s.Min/1e3, s.Max/1e3) }},
	{"MB/s", megabytes, in(1, "%.0f")},
	{"CPU s/M", cpu, in(1, "%.2f")},
	{"broker s/M", brokerCPU, in(1, "%.2f")},
	{"peak RSS", peakRSS, in(1e6, "%.0f MB")},
	{"changelog", changelog, in(1e6, "%.0f MB")},
	{"first commit", firstCommit, in(1, "%.2f s")},
}

// print writes the tables that there are results for, as Markdown, which lines
// up in a terminal too.
func (r *report) print(w io.Writer) {
	r.table(w, rate, drainColumns)
	r.ratios(w)
	r.table(w, p50, latencyColumns)
	r.table(w, diskKept, restartColumns)
	r.table(w, savepointBytes, savepointColumns)
	r.table(w, stateDisk, largeColumns)
	for _, line := range slices.Concat(r.LeftOut, r.Void) {
		fmt.Fprintln(w, line)
	}
}

// table prints the results that have a figure.
func (r *report) table(w io.Writer, figure string, columns []column) {
	t := newTable(w, "workload", "engine", "records", "runs")
	for _, c := range columns {
		t.head(c.heading)
	}
	for _, found := range r.Results {
		if _, ok := found.Figures[figure]; !ok {
			continue
		}
		t.row(found.Workload, found.Engine, fmt.Sprint(found.Records), fmt.Sprint(found.Runs))
		for _, c := range columns {
			text := "-"
			if s, ok := found.Figures[c.figure]; ok {
				text = c.text(s)
			}
			t.cell(text)
		}
	}
	t.end()
}

// ratios prints how many times as fast as its peers procd is.
func (r *report) ratios(w io.Writer) {
	t := newTable(w, "procd's rate over that of")
	var peers []string
	for _, found := range r.Results {
		if found.Engine != procdEngine.name && !slices.Contains(peers, found.Engine) && found.Figures[rate].Median > 0 {
			peers = append(peers, found.Engine)
			t.head(found.Engine)
		}
	}
	for _, wl := range drains {
		if len(peers) == 0 || r.find(wl.name, procdEngine.name) == nil {
			continue
		}
		t.row(wl.name)
		for _, p := range peers {
			text := "-"
			if ratio := r.ratio(wl, p); ratio > 0 {
				text = fmt.Sprintf("%.2f", ratio)
			}
			t.cell(text)
		}
	}
	t.end()
}

// table is a Markdown table.
type table struct {
	w     io.Writer
	heads []string
	rows  [][]string
}

func newTable(w io.Writer, heads ...string) *table { return &table{w: w, heads: heads} }

func (t *table) head(text string)           { t.heads = append(t.heads, text) }
func (t *table) row(cells ...string)        { t.rows = append(t.rows, cells) }
func (t *table) cell(text string)           { t.rows[len(t.rows)-1] = append(t.rows[len(t.rows)-1], text) }
func (t *table) line(cells []string) string { return "| " + strings.Join(cells, "\t | ") + "\t |\n" }

func (t *table) end() {
	if len(t.rows) == 0 {
		return
	}
	tw := tabwriter.NewWriter(t.w, 0, 0, 0, ' ', 0)
	io.WriteString(tw, t.line(t.heads))
	rule := make([]string, len(t.heads))
	for i := range rule {
		rule[i] = "---"
	}
	io.WriteString(tw, t.line(rule))
	for _, row := range t.rows {
		io.WriteString(tw, t.line(row))
	}
	tw.Flush()
	fmt.Fprintln(t.w)
}

// write writes the report as JSON.
func (r *report) write(path string) error {
	r.Seconds = time.Since(r.Started).Seconds()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// recorded are the ratios to the bare loop that the last change of the hot path
// reached, by workload.
//
//go:embed baseline.json
var recorded []byte

// tolerance is how much smaller than the recorded one a ratio may be. The noise
// of one run on a quiet machine is less.
const tolerance = 0.15

// baseline is the content of baseline.json.
type baseline struct {
	Records int                `json:"records"` // per run; ratios of other runs are not compared
	Ratios  map[string]float64 `json:"ratio_to_bare"`
	// Allocations are those of the hot path per record, which a unit test
	// compares with.
	Allocations map[string]float64 `json:"allocations_per_record"`
}

// regressions are the workloads whose ratio to the bare loop fell.
func (r *report) regressions(recorded []byte) error {
	var b baseline
	if err := json.Unmarshal(recorded, &b); err != nil {
		return fmt.Errorf("baseline.json: %w", err)
	}
	var fallen []error
	for _, w := range drains {
		now, then := r.ratio(w, bareEngine.name), b.Ratios[w.name]
		if now == 0 || r.find(w.name, procdEngine.name).Records != b.Records {
			continue
		}
		if now < then*(1-tolerance) {
			fallen = append(fallen, fmt.Errorf("%s: %.2f of the bare loop, recorded are %.2f: slower by more than %.0f %%", w.name, now, then, tolerance*100))
		}
	}
	return errors.Join(fallen...)
}

// record writes the ratios of this run as the ones to compare with.
func (r *report) record(path string) error {
	var b baseline
	if err := json.Unmarshal(recorded, &b); err != nil {
		return err
	}
	for _, w := range drains {
		if now := r.ratio(w, bareEngine.name); now > 0 {
			b.Records = r.find(w.name, procdEngine.name).Records
			b.Ratios[w.name] = float64(int(now*100)) / 100
		}
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
