package control

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/cluster"
)

// DefaultSessionTimeout is the group session timeout of procd's workers (T4).
const DefaultSessionTimeout = 10 * time.Second

// Settings say which job of which cluster, and who asks.
type Settings struct {
	Cluster cluster.Config
	Job     string
	// SessionTimeout of the job's group members: how long a dead process
	// counts as alive. Default [DefaultSessionTimeout].
	SessionTimeout time.Duration
	// By is recorded with every decision: user@host.
	By string
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger gets what a person should know while waiting, and warnings.
	// Default: discarded.
	Logger *slog.Logger
}

func (s Settings) withDefaults() Settings {
	if s.SessionTimeout == 0 {
		s.SessionTimeout = DefaultSessionTimeout
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return s
}

// Plane is a process's connection to one job's control topic: one client for
// reading it, for admin requests and for presence records. Deciding takes a
// second, transactional client for as long as it lasts.
type Plane struct {
	settings Settings
	cl       *kgo.Client
	adm      *kadm.Client
	tail     *Tail // nil until follow
	stop     context.CancelFunc
	warned   sync.Once // of too few replicas
}

// Open connects to the cluster and checks that it can run procd (T3): see
// [cluster.Check] for the errors. Close the Plane.
func Open(ctx context.Context, s Settings) (*Plane, error) {
	s = s.withDefaults()
	opts, err := s.Cluster.Opts()
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond), // T10
		kgo.ProducerLinger(0),                    // single records, which somebody waits for
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: %w", err)
	}
	warning, err := cluster.Check(ctx, cl, s.Cluster)
	if err != nil {
		cl.Close()
		return nil, err
	}
	if warning != "" {
		s.Logger.Warn(warning)
	}
	return &Plane{settings: s, cl: cl, adm: kadm.NewClient(cl)}, nil
}

// follow begins to tail the control topic, which must exist.
func (p *Plane) follow() {
	if p.tail != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.tail = newTail(ctx, p.cl, ControlTopic(p.settings.Job))
}

// Client is the plane's client, for admin requests of others.
func (p *Plane) Client() *kgo.Client { return p.cl }

// Close ends the tail and the connection.
func (p *Plane) Close() {
	if p.tail != nil {
		p.stop()
		<-p.tail.done
	}
	p.cl.Close()
}
