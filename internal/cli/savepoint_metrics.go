package cli

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/procd/procd/internal/control"
)

// savepointMetrics are what the coordinating process exports of savepoints. It
// takes them from the control topic, so a new coordinator begins where the last
// one ended.
type savepointMetrics struct {
	taken       *prometheus.CounterVec
	phases      *prometheus.HistogramVec
	seconds     prometheus.Histogram
	pause       prometheus.Histogram
	bytes       prometheus.Gauge
	lastSuccess prometheus.Gauge
	left        prometheus.Gauge
	lost        prometheus.Gauge
}

func newSavepointMetrics(job string, registry prometheus.Registerer) *savepointMetrics {
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"procd_job": job}, registry)
	buckets := []float64{.005, .01, .02, .05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 300, 1800}
	m := &savepointMetrics{
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "procd_savepoints_total", Help: "Savepoints that were asked for, by outcome: saved, failed. Counted by the coordinating process.",
		}, []string{"outcome"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "procd_savepoint_phase_seconds", Help: "Time that attempts at savepoints spent in each phase.", Buckets: buckets,
		}, []string{"phase"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "procd_savepoint_seconds", Help: "Time from the first attempt at a savepoint to its result.", Buckets: buckets,
		}),
		pause: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "procd_savepoint_pause_seconds", Help: "The longest time that one task stood still for a savepoint.", Buckets: buckets,
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "procd_savepoint_bytes", Help: "Size of the last savepoint.",
		}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "procd_savepoint_last_success_timestamp_seconds", Help: "When the last savepoint was complete; 0 if there is none.",
		}),
		left: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "procd_savepoint_retention_left_seconds", Help: "Time until a source topic may delete records that come after the last savepoint; +Inf if none does.",
		}),
		lost: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "procd_savepoint_lost_records", Help: "Records after the last savepoint that the source topics have deleted: a start from it would miss them.",
		}),
	}
	m.left.Set(math.Inf(1))
	reg.MustRegister(m.taken, m.phases, m.seconds, m.pause, m.bytes, m.lastSuccess, m.left, m.lost)
	for _, outcome := range []string{"saved", "failed"} {
		m.taken.WithLabelValues(outcome)
	}
	return m
}

// follow observes what the control topic says, until ctx ends.
func (m *savepointMetrics) follow(ctx context.Context, tail *control.Tail) {
	w := &savepointWatch{metrics: m, known: map[string]bool{}}
	w.first(tail.View())
	for {
		changed := tail.Changed()
		w.see(tail.View(), time.Now())
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// savepointWatch is what one coordinator has seen.
type savepointWatch struct {
	metrics *savepointMetrics
	known   map[string]bool // results
	phase   control.Phase   // of the attempt that is under way
	since   time.Time
}

// first takes what there was before as known.
func (w *savepointWatch) first(v *control.View) {
	for _, r := range v.Results() {
		w.known[r.ID] = true
		w.last(r)
	}
}

func (w *savepointWatch) see(v *control.View, now time.Time) {
	attempt, _ := v.Attempt()
	if attempt.Phase != w.phase {
		if w.phase != "" {
			w.metrics.phases.WithLabelValues(string(w.phase)).Observe(now.Sub(w.since).Seconds())
		}
		w.phase, w.since = attempt.Phase, now
	}
	for _, r := range v.Results() {
		if w.known[r.ID] {
			continue
		}
		w.known[r.ID] = true
		w.count(r)
	}
}

func (w *savepointWatch) count(r control.Result) {
	m := w.metrics
	m.seconds.Observe(r.Finished.Sub(r.Started).Seconds())
	if !r.Saved {
		m.taken.WithLabelValues("failed").Inc()
		return
	}
	m.taken.WithLabelValues("saved").Inc()
	m.pause.Observe(float64(r.PauseMillis) / 1000)
	w.last(r)
}

// last keeps what the gauges say: results come in the order of their end.
func (w *savepointWatch) last(r control.Result) {
	if r.Saved {
		w.metrics.bytes.Set(float64(r.Bytes))
		w.metrics.lastSuccess.Set(float64(r.Finished.Unix()))
	}
}
