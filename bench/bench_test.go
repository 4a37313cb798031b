package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/procd/procd/config"
	"github.com/procd/procd/topology"
)

// TestModels runs the jobs without a broker over the first records of their
// inputs: each model and its job, in Go and in YAML, must say the same.
func TestModels(t *testing.T) {
	for _, w := range allWorkloads() {
		t.Run(w.name, func(t *testing.T) {
			records := 2000
			if w.input.events {
				records = 20_000 // or nobody has been away for long enough
			}
			d, err := topology.NewDriver(jobOf(t, w), topology.Partitions(partitions), topology.ManualCommit())
			if err != nil {
				t.Fatal(err)
			}
			in := *w.input
			if !in.events {
				in.keys = 1000 // so that most come again
			}
			for i := range records {
				key, value := in.record(i)
				if err := d.Send("in", key, value, 1); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Commit(); err != nil {
				t.Fatal(err)
			}
			var got tally
			for _, r := range d.Outputs("out") {
				weight, err := w.weigh(r.Value)
				if err != nil {
					t.Fatal(err)
				}
				got.add(r.Key, weight)
			}
			if want := w.model(&in, records); got != want || got.n == 0 {
				t.Fatalf("the job wrote %v, the model says %v", got, want)
			}
		})
	}
}

func jobOf(t testing.TB, w *workload) *topology.Job {
	t.Helper()
	if w.yaml == nil {
		return w.job("bench", "in", "out")
	}
	path := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(w.yaml("bench", "in", "out")), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return file.Job()
}

// TestInputs: values are as long as they say, keys stay in their range, and
// Zipf's first key comes as often as it should.
func TestInputs(t *testing.T) {
	for _, in := range []*input{small, large, wide, skewed} {
		seen := map[int]int{}
		for i := range 10_000 {
			k := in.key(i)
			if k < 0 || k >= in.keys {
				t.Fatalf("%s: key %d", in.name, k)
			}
			seen[k]++
			if _, v := in.record(i); len(v) != in.bytes {
				t.Fatalf("%s: a value of %d bytes", in.name, len(v))
			}
		}
		most := 0
		for _, n := range seen {
			most = max(most, n)
		}
		// Of a million keys with Zipf(1.0), one record in 14.4 has the first.
		if in.zipf && (most < 600 || most > 800) || !in.zipf && most > 20 {
			t.Errorf("%s: the most frequent of 10,000 keys comes %d times", in.name, most)
		}
	}
}

// TestRegressions: a ratio may fall by the tolerance, and no more.
func TestRegressions(t *testing.T) {
	measured := func(procd float64) *report {
		r := newReport(nil)
		r.add("count-10k", "procd", 1000, figures{rate: procd})
		r.add("count-10k", "bare", 1000, figures{rate: 100})
		return r
	}
	recorded := []byte(`{"records": 1000, "ratio_to_bare": {"count-10k": 0.8, "alarm": 0.9}}`)
	if err := measured(69).regressions(recorded); err != nil {
		t.Error("0.69 of 0.8 is within the tolerance:", err)
	}
	if err := measured(67).regressions(recorded); err == nil || !strings.Contains(err.Error(), "count-10k: 0.67") {
		t.Error("0.67 of 0.8 is a regression:", err)
	}
	if err := measured(10).regressions([]byte(`{"records": 5, "ratio_to_bare": {"count-10k": 0.8}}`)); err != nil {
		t.Error("runs of another size are not compared:", err)
	}
}

// TestReport: the median of a run, and a table with everything in it.
func TestReport(t *testing.T) {
	r := newReport(nil)
	for _, v := range []float64{3e6, 1e6, 2e6} {
		r.add("count-10k", "procd", 1000, figures{rate: v})
	}
	r.add("count-10k", "bare", 1000, figures{rate: 4e6})
	var text strings.Builder
	r.print(&text)
	for _, want := range []string{"| 2000 k ", "| 1000..3000 k ", "| count-10k                 | 0.50 |"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}

// TestHistogram: quantiles by nearest rank.
func TestHistogram(t *testing.T) {
	var h histogram
	for ms := range 1000 {
		h.add(time.Duration(ms+1) * time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		if got := h.quantile(q); got != want {
			t.Errorf("quantile %v is %v ms, want %v", q, got, want)
		}
	}
}

// TestProgress: a run that commits 100 records every 100 ms and once pauses for
// 400 ms.
func TestProgress(t *testing.T) {
	start := time.Now()
	var p progress
	consumed := int64(0)
	for ms := 0; ms <= 3000; ms += 10 {
		if ms%100 == 0 && (ms <= 1000 || ms >= 1400) {
			consumed += 100
		}
		p = append(p, sample{at: start.Add(time.Duration(ms) * time.Millisecond), consumed: consumed})
	}
	if got := p.longest(); got != 400*time.Millisecond {
		t.Errorf("the longest time without a commit is %v", got)
	}
	if got := p.slowest(500 * time.Millisecond); got < 390 || got > 400 { // 200 in 510 ms
		t.Errorf("the slowest half second had %v records/s", got)
	}
	if got := p.slowest(10 * time.Second); got != 0 {
		t.Errorf("a window longer than all: %v", got)
	}
}
