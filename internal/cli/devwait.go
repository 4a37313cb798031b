package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/topology"
)

// lagPoll is how often dev asks whether everything is committed.
const lagPoll = 20 * time.Millisecond

// drained waits until a stage has committed all of its inputs. Called for one
// stage after the other, in the plan's order, the end of a later stage's input
// stands when it is asked for: what feeds it is committed.
func (s *devSession) drained(ctx context.Context, stage *topology.Stage) error {
	adm := kadm.NewClient(s.client)
	for _, in := range stage.Inputs {
		topic := s.plan.Topics[in.Topic]
		name := topic.Name
		if topic.Kind == topology.RepartitionTopic {
			name = control.RepartitionTopic(s.plan.Job, 1, topic.Name)
		}
		for {
			lag, err := lagOf(ctx, adm, control.Group(s.plan.Job), name)
			if err != nil || lag == 0 {
				return err
			}
			select {
			case <-time.After(lagPoll):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// lagOf is how many offsets of a topic a group has not committed yet.
func lagOf(ctx context.Context, adm *kadm.Client, group, topic string) (int64, error) {
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("end of %s: %w", topic, err)
	}
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return 0, fmt.Errorf("committed offsets of %s: %w", group, err)
	}
	var lag int64
	ends.Each(func(end kadm.ListedOffset) {
		at := int64(0)
		if c, ok := committed.Lookup(topic, end.Partition); ok {
			at = max(c.At, 0)
		}
		lag += max(end.Offset-at, 0)
	})
	return lag, nil
}

// printer prints the committed records of topics with one partition each.
type printer struct {
	client *kgo.Client
	topics []string
	out    io.Writer
	json   bool

	mu     sync.Mutex
	target map[string]int64 // print up to these offsets, then end; nil: go on
	wake   context.CancelFunc
}

func newPrinter(broker string, topics []string, out io.Writer, json bool) (*printer, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // their offsets count
	)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded broker: %w", err)
	}
	return &printer{client: client, topics: topics, out: out, json: json}, nil
}

func (p *printer) close() { p.client.Close() }

// finish makes run end once it has printed everything that is committed now.
func (p *printer) finish(ctx context.Context) error {
	ends, err := kadm.NewClient(p.client).ListEndOffsets(ctx, p.topics...)
	if err != nil {
		return fmt.Errorf("end of the outputs: %w", err)
	}
	target := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { target[o.Topic] = o.Offset })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	if p.wake != nil {
		p.wake()
	}
	return nil
}

// next returns a context for one poll, which finish ends; nil: all is printed.
func (p *printer) next(ctx context.Context, positions map[string]int64) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.target == nil {
		ctx, p.wake = context.WithCancel(ctx)
		return ctx
	}
	for topic, end := range p.target {
		if positions[topic] < end {
			return ctx
		}
	}
	return nil
}

func (p *printer) run(ctx context.Context) error {
	positions := map[string]int64{}
	for ctx.Err() == nil {
		pollCtx := p.next(ctx, positions)
		if pollCtx == nil {
			return nil
		}
		fetches := p.client.PollFetches(pollCtx)
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			positions[r.Topic] = r.Offset + 1
			if r.Attrs.IsControl() {
				continue
			}
			if err := p.print(r); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (p *printer) print(r *kgo.Record) error {
	line := string(r.Value)
	if p.json {
		text, err := json.Marshal(struct {
			Topic string `json:"topic"`
			Key   string `json:"key"`
			Value string `json:"value"`
		}{r.Topic, string(r.Key), line})
		if err != nil {
			return fmt.Errorf("print a record: %w", err)
		}
		line = string(text)
	} else if len(p.topics) > 1 {
		line = r.Topic + ": " + line
	}
	_, err := fmt.Fprintln(p.out, line)
	return err
}
