package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// process is a running process of a job: its workers and what they share.
type process struct {
	cfg    Config
	plan   *topology.Plan
	layout *layout
	log    *slog.Logger
	group  string
	// metadata of every offset commit: the generation (P8).
	metadata string
	// positions is the name of the positions topic.
	positions       string
	deleteRetention time.Duration
	adm             *kadm.Client
	metrics         *metrics
	workers         []*worker
	opening         chan struct{}  // bounds the tasks that open at once
	aside           sync.WaitGroup // what runs beside the loops: openings, copies, the coordinator
	ctx             context.Context
	diskLow         atomic.Bool   // inputs are paused (S9)
	detached        chan struct{} // a task was detached from the savepoint: look whether all are

	mu sync.Mutex
	// resign ends this process's coordinator; nil: it has none.
	resign   context.CancelFunc
	states   map[taskRef]taskInfo
	consumed map[topicPartition]int64 // committed offsets of repartition topics, since the last purge
	out      sync.Mutex               // stdout
}

// taskInfo is what is shown of a task.
type taskInfo struct {
	worker    int
	state     taskState
	remaining int64 // changelog offsets to read
	base      baseState
}

// maxOpening bounds the tasks that restore at once, and with it the memory and
// the share of the network that restoring takes from running tasks.
const maxOpening = 4

func newProcess(ctx context.Context, cfg Config) (*process, error) {
	l, err := newLayout(cfg.Plan, cfg.Lease)
	if err != nil {
		return nil, err
	}
	p := &process{
		cfg: cfg, plan: cfg.Plan, layout: l, log: cfg.Logger,
		group:     control.Group(cfg.Lease.Job),
		metadata:  strconv.Itoa(cfg.Lease.Generation.Generation),
		positions: control.PositionsTopic(cfg.Lease.Job, cfg.Lease.Generation.Generation),
		adm:       kadm.NewClient(cfg.Client),
		opening:   make(chan struct{}, maxOpening),
		detached:  make(chan struct{}, 1),
		states:    map[taskRef]taskInfo{},
		consumed:  map[topicPartition]int64{},
		ctx:       ctx,
	}
	if p.deleteRetention, err = p.askDeleteRetention(ctx); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(p.checkpoints()); err != nil {
		return nil, fmt.Errorf("procd/engine: removing what a savepoint left behind: %w", err)
	}
	p.metrics = newMetrics(cfg)
	for n := range cfg.Workers {
		p.workers = append(p.workers, newWorker(p, n))
	}
	return p, nil
}

func (p *process) generation() int { return p.cfg.Lease.Generation.Generation }

// taskName is how a task is called in messages: stage/partition.
func (p *process) taskName(ref taskRef) string {
	return fmt.Sprintf("%s/%d", p.layout.stages[ref.stage].id, ref.partition)
}

func (p *process) taskEnv(ref taskRef) topology.TaskEnv {
	stage := &p.layout.stages[ref.stage]
	return topology.TaskEnv{
		Partition: ref.partition, Partitions: stage.partitions,
		State:          p.cfg.State,
		Now:            func() int64 { return time.Now().UnixMilli() },
		Logger:         p.log.With("task", p.taskName(ref)),
		MaxRecordBytes: p.cfg.MaxRecordBytes,
		Generation:     p.generation(),
		Reached:        p.reached(ref),
	}
}

// readerOpts are the options of a client that reads internal topics.
func (p *process) readerOpts() []kgo.Opt {
	return append(p.cfg.Kafka[:len(p.cfg.Kafka):len(p.cfg.Kafka)], kgo.MetadataMinAge(100*time.Millisecond))
}

// warmTasks are the tasks whose state this process has on disk.
func (p *process) warmTasks() map[string][]int32 {
	warm := map[string][]int32{}
	for _, stage := range p.layout.stages {
		for n := range stage.partitions {
			if stage.onDisk(p.cfg.Seat, p.generation(), n) {
				warm[stage.id] = append(warm[stage.id], n)
			}
		}
	}
	return warm
}

// taskState notes what is shown of a task.
func (p *process) taskState(worker int, ref taskRef, s taskState) {
	p.mu.Lock()
	p.states[ref] = taskInfo{worker: worker, state: s}
	p.countStates()
	if ref == firstTask && s == taskRunning {
		p.coordinate()
	}
	p.mu.Unlock()
	p.announce()
}

func (p *process) taskGone(worker int, ref taskRef) {
	p.mu.Lock()
	// It may run on another worker of this process already.
	if p.states[ref].worker == worker {
		delete(p.states, ref)
		if ref == firstTask && p.resign != nil {
			p.resign()
			p.resign = nil
		}
	}
	p.countStates()
	p.mu.Unlock()
	p.announce()
}

// firstTask is the task whose owner coordinates savepoints.
var firstTask = taskRef{0, 0}

// coordinate starts this process's coordinator; mu is held.
func (p *process) coordinate() {
	if p.cfg.Coordinate == nil || p.resign != nil {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.resign = cancel
	p.aside.Go(func() {
		if err := p.cfg.Coordinate(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("the coordinator of savepoints ended; another process, or a restart of this one, takes over", "err", err)
		}
	})
}

// taskBase notes how far a task has come from the savepoint that the generation
// began with.
func (p *process) taskBase(ref taskRef, s baseState) {
	p.mu.Lock()
	if info, ok := p.states[ref]; ok {
		info.base = s
		p.states[ref] = info
	}
	p.countStates()
	p.mu.Unlock()
	p.announce()
}

// restoreProgress notes how many changelog offsets a task has still to read.
func (p *process) restoreProgress(ref taskRef, remaining int64) {
	p.mu.Lock()
	if info, ok := p.states[ref]; ok {
		info.remaining = remaining
		p.states[ref] = info
	}
	p.mu.Unlock()
	p.announce()
}

// countStates exports how many tasks are in each state; mu is held.
func (p *process) countStates() {
	n := map[taskState]int{taskRestoring: 0, taskRunning: 0}
	for _, info := range p.states {
		n[info.state]++
	}
	for state, count := range n {
		p.metrics.tasks.WithLabelValues(string(state)).Set(float64(count))
	}
	if p.cfg.Lease.Generation.Savepoint == nil {
		return
	}
	bases := map[baseState]int{baseAttached: 0, baseDetached: 0, baseClean: 0}
	for _, info := range p.states {
		bases[info.base]++
	}
	delete(bases, "")
	for state, count := range bases {
		p.metrics.base.WithLabelValues(string(state)).Set(float64(count))
	}
}

// announce tells the control topic what this process does (P1).
func (p *process) announce() {
	if p.cfg.Announce != nil {
		p.cfg.Announce(p.tasks())
	}
}

// tasks lists the tasks of this process, sorted by stage and partition.
func (p *process) tasks() []control.TaskState {
	p.mu.Lock()
	defer p.mu.Unlock()
	refs := slices.SortedFunc(maps.Keys(p.states), compareTasks)
	tasks := make([]control.TaskState, len(refs))
	for i, ref := range refs {
		tasks[i] = control.TaskState{Stage: p.layout.stages[ref.stage].id, Partition: ref.partition, State: string(p.states[ref].state), RestoreRemaining: p.states[ref].remaining, Base: string(p.states[ref].base)}
	}
	return tasks
}

// checkpoints is where this process keeps checkpoints while they are copied:
// beside the stores, so that they are links.
func (p *process) checkpoints() string { return filepath.Join(p.cfg.Seat.Dir(), "checkpoints") }

// final reports whether an error stops the job in this process: nothing that
// the broker or another try may mend.
func (p *process) final(err error) bool {
	if errors.Is(err, errMoved) {
		return false
	}
	var offsets *OffsetsError
	var partition *PartitionError
	var outside *RangeError
	var refused *control.Refused
	var key *topology.Refused
	var bad *topology.BadRecord
	return errors.As(err, &offsets) || errors.As(err, &partition) || errors.As(err, &outside) || errors.As(err, &refused) || errors.As(err, &key) || errors.As(err, &bad) ||
		errors.Is(err, control.ErrStopped) || errors.Is(err, control.ErrSuperseded) || errors.Is(err, control.ErrNewerFormat) ||
		errors.Is(err, kstate.ErrNewerFormat) || isLocal(err)
}

// print writes lines of `output: stdout`, after their transaction.
func (p *process) print(lines [][]byte) error {
	if len(lines) == 0 {
		return nil
	}
	p.out.Lock()
	defer p.out.Unlock()
	for _, l := range lines {
		if _, err := p.cfg.Stdout.Write(append(l[:len(l):len(l)], '\n')); err != nil {
			return fmt.Errorf("procd/engine: writing an output to stdout: %w", err)
		}
	}
	return nil
}

// askDeleteRetention asks how long tombstones of the changelogs are kept (P17);
// the smallest counts.
func (p *process) askDeleteRetention(ctx context.Context) (time.Duration, error) {
	var topics []string
	for _, s := range p.layout.stages {
		for _, st := range s.stores {
			topics = append(topics, st.changelog)
		}
	}
	if len(topics) == 0 {
		return 0, nil
	}
	configs, err := p.adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return 0, fmt.Errorf("procd/engine: asking for the changelogs' settings: %w", err)
	}
	least := time.Duration(1<<63 - 1)
	for _, c := range configs {
		if c.Err != nil {
			return 0, fmt.Errorf("procd/engine: asking for the settings of %s: %w", c.Name, c.Err)
		}
		for _, kv := range c.Configs {
			if kv.Key == "delete.retention.ms" && kv.Value != nil {
				d, err := time.ParseDuration(*kv.Value + "ms")
				if err != nil {
					return 0, fmt.Errorf("procd/engine: %s: delete.retention.ms: %w", c.Name, err)
				}
				least = min(least, d)
			}
		}
	}
	return least, nil
}
