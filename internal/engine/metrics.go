package engine

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// metrics are what a process exports. A label is never named job: Prometheus
// owns that name.
type metrics struct {
	records       *prometheus.CounterVec
	commitSeconds prometheus.Histogram
	endToEnd      prometheus.Histogram
	slowCommits   prometheus.Counter
	aborts        *prometheus.CounterVec
	rebuilds      *prometheus.CounterVec
	restored      *prometheus.CounterVec
	restoring     *prometheus.GaugeVec
	restores      *prometheus.CounterVec
	replay        *prometheus.GaugeVec
	swept         *prometheus.CounterVec
	base          *prometheus.GaugeVec
	lag           *prometheus.GaugeVec
	lagSeconds    *prometheus.GaugeVec
	tasks         *prometheus.GaugeVec
	entries       *prometheus.GaugeVec
	bytes         *prometheus.GaugeVec
	blocked       *prometheus.GaugeVec
	diskFree      prometheus.Gauge
	clients       []*clientMetrics // by worker
}

// clientMetrics exports the metrics of a worker's current client.
type clientMetrics struct {
	current atomic.Pointer[kprom.Metrics]
}

// Describe sends nothing: what there is depends on the client.
func (c *clientMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect collects from the current client.
func (c *clientMetrics) Collect(ch chan<- prometheus.Metric) {
	if m := c.current.Load(); m != nil {
		m.Collect(ch)
	}
}

// slowCommit is the duration above which a commit is counted as slow (T10).
const slowCommit = time.Second

func newMetrics(cfg Config) *metrics {
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"procd_job": cfg.Lease.Job}, cfg.Registry)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "procd_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "procd_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "procd_" + name, Help: help,
			Buckets: []float64{.005, .01, .02, .05, .1, .15, .2, .3, .5, 1, 2, 5, 10, 30, 60},
		})
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		records:       counter("records_total", "Records of committed transactions, by what became of them: in, out, empty, skipped, dead_letter, clamped.", "stage", "kind"),
		commitSeconds: histogram("commit_seconds", "Time from the end of processing to the known end of the transaction."),
		endToEnd:      histogram("end_to_end_seconds", "Age, by its Kafka timestamp, of the newest record of each partition when its transaction had committed."),
		slowCommits:   counter("slow_commits_total", "Commits that took longer than a second.").WithLabelValues(),
		aborts:        counter("aborts_total", "Transactions aborted, by cause.", "cause"),
		rebuilds:      counter("client_rebuilds_total", "Clients closed and built again, by cause.", "cause"),
		restored:      counter("restored_records_total", "Changelog records read to restore state.", "store"),
		restoring:     gauge("restore_remaining_records", "Changelog offsets still to be read before the task runs.", "store", "partition"),
		restores:      counter("restores_total", "Stores that were opened, by what their state was made from: local, changelog, copied, adopted, rows.", "store", "origin"),
		replay:        gauge("replay_remaining_records", "Offsets of a source partition still to be processed that an earlier generation had processed.", "topic", "partition"),
		swept:         counter("swept_records_total", "Changelog records written to become independent of the savepoint that the generation began with.", "store"),
		base:          gauge("base_tasks", "Tasks with state of this process, by how far they have come from the savepoint that the generation began with: attached (it is needed), detached (it is not), clean (no deleted markers are left either).", "state"),
		lag:           gauge("lag_records", "Offsets from the committed position to the end of an input partition.", "topic", "partition"),
		lagSeconds:    gauge("lag_seconds", "Age of the newest committed record of an input partition that is not at its end; 0 at the end.", "topic", "partition"),
		tasks:         gauge("tasks", "Tasks of this process by state.", "state"),
		entries:       gauge("state_entries", "Keys with a value.", "store", "partition"),
		bytes:         gauge("state_bytes", "Size of a store's state by place: disk, cache, unwritten.", "store", "partition", "place"),
	}
	m.blocked = gauge("source_blocked_records", "Offsets of a source partition that an open transaction holds back from everybody.", "topic", "partition")
	m.diskFree = gauge("disk_free_bytes", "Free bytes of the data directory's file system.").WithLabelValues()
	for n := range cfg.Workers {
		c := &clientMetrics{}
		prometheus.WrapRegistererWith(prometheus.Labels{"worker": strconv.Itoa(n)}, reg).MustRegister(c)
		m.clients = append(m.clients, c)
	}
	gauge("generation", "The generation this process runs.").WithLabelValues().Set(float64(cfg.Lease.Generation.Generation))
	return m
}

// taskMetrics are the handles of one task, so that a commit looks up nothing.
type taskMetrics struct {
	m       *metrics
	kinds   [6]prometheus.Counter
	counted topology.Counters // what the counters hold already
	lag     []prometheus.Gauge
	seconds []prometheus.Gauge
	replay  []prometheus.Gauge // nil: nothing is replayed of that input
	reached []int64
	ends    []int64     // high watermark of each input
	newest  []time.Time // Kafka timestamp of the newest record of each input
	sized   time.Time   // when the stores' sizes were last exported
}

var recordKinds = [6]string{"in", "out", "empty", "skipped", "dead_letter", "clamped"}

func counts(c *topology.Counters) [6]int64 {
	return [6]int64{c.In, c.Out, c.Empty, c.Skipped, c.DeadLetters, c.Clamped}
}

func (m *metrics) task(t *task) *taskMetrics {
	tm := &taskMetrics{m: m, ends: make([]int64, len(t.inputs)), newest: make([]time.Time, len(t.inputs))}
	for i, kind := range recordKinds {
		tm.kinds[i] = m.records.WithLabelValues(t.stage.id, kind)
	}
	p := strconv.Itoa(int(t.ref.partition))
	for _, topic := range t.stage.inputs {
		tm.lag = append(tm.lag, m.lag.WithLabelValues(topic, p))
		tm.seconds = append(tm.seconds, m.lagSeconds.WithLabelValues(topic, p))
	}
	return tm
}

// replays shows how much of a task's inputs is replay, for as long as some is.
func (tm *taskMetrics) replays(t *task, reached []kstate.SourceOffset) {
	tm.replay, tm.reached = make([]prometheus.Gauge, len(t.inputs)), make([]int64, len(t.inputs))
	for _, r := range reached {
		if i := t.stage.input(r.Topic); i >= 0 && r.Partition == t.ref.partition {
			tm.reached[i] = r.Offset
			tm.replay[i] = tm.m.replay.WithLabelValues(r.Topic, strconv.Itoa(int(r.Partition)))
		}
	}
	tm.replayed(t)
}

func (tm *taskMetrics) replayed(t *task) {
	for i, gauge := range tm.replay {
		if gauge == nil {
			continue
		}
		left := max(tm.reached[i]-t.inputs[i].next, 0)
		gauge.Set(float64(left))
		if left == 0 {
			tm.replay[i] = nil
		}
	}
}

// fetched notes the end of an input, and its newest record.
func (tm *taskMetrics) fetched(input int, p *kgo.FetchPartition) {
	tm.ends[input] = p.HighWatermark
	tm.newest[input] = p.Records[len(p.Records)-1].Timestamp
}

// sizesEvery is how often the sizes of stores are exported.
const sizesEvery = 2 * time.Second

// committed exports what a transaction did once it has committed.
func (tm *taskMetrics) committed(t *task, now time.Time) {
	c := *t.run.Counters()
	before, after := counts(&tm.counted), counts(&c)
	for i, kind := range tm.kinds {
		if after[i] > before[i] {
			kind.Add(float64(after[i] - before[i]))
		}
	}
	tm.counted = c
	tm.replayed(t)
	for i, in := range t.inputs {
		behind := max(tm.ends[i]-in.committed, 0)
		age := now.Sub(tm.newest[i]).Seconds()
		tm.lag[i].Set(float64(behind))
		if behind == 0 {
			tm.seconds[i].Set(0)
		} else {
			tm.seconds[i].Set(age)
		}
		if !tm.newest[i].IsZero() {
			tm.m.endToEnd.Observe(age)
			tm.newest[i] = time.Time{}
		}
	}
}

// aborted leaves out what a transaction did.
func (tm *taskMetrics) aborted(t *task) { tm.counted = *t.run.Counters() }

// sizes exports the sizes of a task's stores, now and then.
func (tm *taskMetrics) sizes(t *task, now time.Time) {
	if now.Sub(tm.sized) < sizesEvery {
		return
	}
	tm.sized = now
	m := tm.m
	p := strconv.Itoa(int(t.ref.partition))
	for i, s := range t.run.Stores() {
		uid, st := t.stage.stores[i].uid, s.Stats()
		m.entries.WithLabelValues(uid, p).Set(float64(st.Entries))
		m.bytes.WithLabelValues(uid, p, "disk").Set(float64(st.DiskBytes))
		m.bytes.WithLabelValues(uid, p, "cache").Set(float64(st.CacheBytes))
		m.bytes.WithLabelValues(uid, p, "unwritten").Set(float64(st.UnwrittenBytes))
	}
}

// gone removes a task's series: the process that has it now exports them.
func (m *metrics) gone(t *task) {
	p := strconv.Itoa(int(t.ref.partition))
	for _, topic := range t.stage.inputs {
		m.lag.DeleteLabelValues(topic, p)
		m.lagSeconds.DeleteLabelValues(topic, p)
		m.replay.DeleteLabelValues(topic, p)
	}
	for _, s := range t.stage.stores {
		part := prometheus.Labels{"store": s.uid, "partition": p}
		m.entries.DeletePartialMatch(part)
		m.bytes.DeletePartialMatch(part)
		m.restoring.DeletePartialMatch(part)
	}
}
