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
)

// What the job files of the demo name, and their names.
const (
	jobName     = "motion-alarm"
	v1File      = "motion-alarm-v1.yaml"
	v2File      = "motion-alarm-v2.yaml"
	sourceTopic = "alarm-events"
	outputTopic = "alarms"
	partitions  = 4
)

// Config is what the story is told with.
type Config struct {
	Executable    string    // procd
	BrokerCommand string    // its command that runs an embedded broker
	V1, V2        string    // the job files' content
	Out           io.Writer // where the story goes
}

// Result is how it ended.
type Result struct {
	Verdict
	Events   int     `json:"events"`
	Downtime float64 `json:"downtime_seconds"` // from version 1 to version 2
	Seconds  float64 `json:"seconds"`
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
	feed   *feed
	reader *reader
	alive  []*child
	older  string // id of the savepoint to go back to
	plot   plot
	result Result
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
	for file, text := range map[string]string{v1File: c.V1, v2File: c.V2} {
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o644); err != nil {
			return s, fmt.Errorf("write the job file: %w", err)
		}
	}
	if s.broker, err = startBroker(c.Executable, s.dir, c.BrokerCommand); err != nil {
		return s, err
	}
	if s.feed, err = newFeed(s.broker.addr); err != nil {
		return s, err
	}
	if err := createTopics(ctx, s.feed.client); err != nil {
		return s, err
	}
	s.reader, err = newReader(s.broker.addr)
	return s, err
}

func createTopics(ctx context.Context, client *kgo.Client) error {
	created, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 1, nil, sourceTopic, outputTopic)
	if err := errors.Join(err, created.Error()); err != nil {
		return fmt.Errorf("create the topics: %w", err)
	}
	return nil
}

// env is the environment of everything that runs on the story's broker.
func (s *story) env() []string { return append(os.Environ(), "PROCD_BROKERS="+s.broker.addr) }

// start starts a process of the job.
func (s *story) start(ctx context.Context, name string, args ...string) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	c, err := spawn(s.Executable, s.dir, name, append([]string{"start", "--admin", admin}, args...)...)
	if err != nil {
		return err
	}
	c.admin, c.cmd.Env = admin, s.env()
	if err := c.start(); err != nil {
		return err
	}
	s.alive = append(s.alive, c)
	return ctx.Err()
}

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
