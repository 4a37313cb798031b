package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/engine"
)

// What the job file of the demo names.
const (
	jobName     = "motion-alarm"
	sourceTopic = "alarm-events"
	outputTopic = "alarms"
	partitions  = 4
)

// Config is what the story is told with.
type Config struct {
	Executable    string    // procd
	BrokerCommand string    // its command that runs an embedded broker
	Job           string    // the job file's content
	Out           io.Writer // where the story goes
}

// Result is how it ended.
type Result struct {
	Verdict
	Events  int     `json:"events"`
	Seconds float64 `json:"seconds"`
}

// Run tells the story. The error says why it could not be told; whether
// anything was lost is in the Result.
func Run(ctx context.Context, c Config) (Result, error) {
	s, err := prepare(ctx, c)
	if err != nil {
		return Result{}, err
	}
	defer s.close()
	result, err := s.tell(ctx)
	if err != nil {
		return result, fmt.Errorf("%w; the logs are in %s", err, s.keepLogs())
	}
	return result, nil
}

// story is the stage and the actors.
type story struct {
	Config
	began  time.Time
	dir    string
	keep   bool // the directory
	broker *broker
	plane  *control.Plane
	feed   *feed
	reader *reader
	alive  []*child
}

func prepare(ctx context.Context, c Config) (s *story, err error) {
	s = &story{Config: c, began: time.Now()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "procd-demo-"); err != nil {
		return s, fmt.Errorf("make a directory: %w", err)
	}
	if err := os.WriteFile(s.jobFile(), []byte(c.Job), 0o644); err != nil {
		return s, fmt.Errorf("write the job file: %w", err)
	}
	if s.broker, err = startBroker(c.Executable, s.dir, c.BrokerCommand); err != nil {
		return s, err
	}
	if err := createTopics(ctx, s.broker.addr); err != nil {
		return s, err
	}
	s.plane, err = control.Open(ctx, control.Settings{
		Cluster: cluster.Config{Brokers: []string{s.broker.addr}}, Job: jobName,
		SessionTimeout: engine.SessionTimeout, By: "procd demo",
	})
	if err != nil {
		return s, err
	}
	if s.feed, err = newFeed(s.broker.addr); err != nil {
		return s, err
	}
	s.reader, err = newReader(s.broker.addr)
	return s, err
}

func createTopics(ctx context.Context, broker string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 1, nil, sourceTopic, outputTopic)
	if err := errors.Join(err, created.Error()); err != nil {
		return fmt.Errorf("create the topics: %w", err)
	}
	return nil
}

func (s *story) jobFile() string { return filepath.Join(s.dir, jobName+".yaml") }

// keepLogs leaves the directory for whoever wants to know what happened.
func (s *story) keepLogs() string {
	s.keep = true
	return s.dir
}

func (s *story) close() {
	for _, c := range s.alive {
		c.kill()
	}
	if s.reader != nil {
		s.reader.client.Close()
	}
	if s.feed != nil {
		s.feed.client.Close()
	}
	if s.plane != nil {
		s.plane.Close()
	}
	if s.broker != nil {
		s.broker.close()
	}
	if s.dir != "" && !s.keep {
		// What is left in the temporary directory is the system's to remove.
		_ = os.RemoveAll(s.dir)
	}
}

// say adds a line to the story, with its time.
func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.Out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}
