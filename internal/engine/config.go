package engine

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// DefaultCommit is the default interval of commits.
const DefaultCommit = 100 * time.Millisecond

// DefaultBufferBytes is the default of [Config.FetchBytes] and of
// [Config.ProduceBytes].
const DefaultBufferBytes = 64 << 20

// DefaultMaxRecordBytes is the size of key and value of a record above which it
// is refused before it is produced (D2): Kafka's default for message.max.bytes
// less the batch's own bytes.
const DefaultMaxRecordBytes = 1_000_000

// Config is what a process of a job runs with.
type Config struct {
	Kafka  []kgo.Opt   // options that every client of this cluster needs
	Client *kgo.Client // for admin requests
	Plan   *topology.Plan
	Lease  *control.Lease
	Seat   *seat.Seat
	State  *kstate.Env
	// Workers is the number of group members and loops. Default: 1.
	Workers int
	// FetchBytes and ProduceBytes bound what all workers together fetch ahead
	// and hold for open transactions; default [DefaultBufferBytes] each.
	FetchBytes, ProduceBytes int64
	// Commit is the interval of commits; default [DefaultCommit].
	Commit time.Duration
	// MaxRecordBytes bounds key and value of each record written; default
	// [DefaultMaxRecordBytes].
	MaxRecordBytes int
	// OldTransactions says that the brokers may be older than Kafka 4.0, which
	// the user accepted (T3).
	OldTransactions bool
	Stdout          io.Writer
	Logger          *slog.Logger
	Registry        prometheus.Registerer
	// Location is the savepoint directory; nil: savepoints cannot be taken here.
	Location *savepoint.Location
	// Report sends a worker's report to the coordinator of a savepoint.
	Report func(context.Context, control.Report) error
	// Coordinate, if set, runs while this process owns the job's first task:
	// its owner coordinates savepoints.
	Coordinate func(context.Context) error
	// Announce, if set, is told the process's tasks whenever they change.
	Announce func([]control.TaskState)
}

func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.Commit == 0 {
		c.Commit = DefaultCommit
	}
	if c.FetchBytes == 0 {
		c.FetchBytes = DefaultBufferBytes
	}
	if c.ProduceBytes == 0 {
		c.ProduceBytes = DefaultBufferBytes
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = DefaultMaxRecordBytes
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	return c
}
