package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/embedded"
	"github.com/procd/procd/topology"
)

// dev runs a job between stdin and stdout.
func (a *app) dev() *cobra.Command {
	return &cobra.Command{
		Use:   "dev" + a.fileArgument(),
		Short: "Run a job on an embedded broker: lines on stdin go in, outputs come out on stdout",
		Long: `Run a job on an embedded broker, without a cluster. Each line on stdin is a
record of the job's source; its key is taken from the key field. What the job
writes comes out on stdout. Ends when stdin has ended and all of it is
committed; nothing is kept.`,
		Args:        a.fileArgs(),
		Annotations: map[string]string{unbounded: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.load(args)
			if err != nil {
				return err
			}
			set, err := a.settings()
			if err != nil {
				return err
			}
			if a.flags.admin == "" {
				set.admin = adminOff
			}
			if !a.flags.verbose {
				a.log = a.newLogger(slog.LevelError)
			}
			return a.runDev(cmd.Context(), job, set)
		},
	}
}

// errDevDone ends the job once all input is committed and printed.
var errDevDone = fmt.Errorf("%w: dev is done", context.Canceled)

func (a *app) runDev(ctx context.Context, job *loaded, set settings) (err error) {
	s, err := newDevSession(job.plan, a.In, a.Out, a.flags.json)
	if err != nil {
		return err
	}
	defer s.close()
	set.cluster = cluster.Config{Brokers: []string{s.broker.Addr()}}
	if set.data, err = os.MkdirTemp("", "procd-dev-"); err != nil {
		return fmt.Errorf("make a directory for the state: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(set.data)) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		p := &process{plan: job.plan, commit: job.commit, settings: set, stdout: a.Out, log: a.log}
		err := p.run(ctx)
		cancel(err)
		ended <- err
	}()
	err = s.pipe(ctx)
	cancel(errDevDone)
	return errors.Join(<-ended, endedByUser(ctx, err))
}

// devSession is the broker of one `procd dev` and both ends of the job.
type devSession struct {
	plan    *topology.Plan
	broker  *embedded.Broker
	client  *kgo.Client // writes the source and asks for offsets
	in      io.Reader
	source  string
	keyOf   func(value []byte) ([]byte, error) // nil: no key field
	printer *printer                           // nil: the job writes to no topic
}

func newDevSession(plan *topology.Plan, in io.Reader, out io.Writer, json bool) (s *devSession, err error) {
	s = &devSession{plan: plan, in: in}
	if s.source, err = onlySource(plan); err != nil {
		return nil, err
	}
	s.keyOf = plan.KeyOf(s.source)
	if s.broker, err = embedded.Start(); err != nil {
		return nil, err
	}
	var outputs []string
	for _, t := range plan.Topics {
		switch t.Kind {
		case topology.OutputTopic, topology.DeadLetterTopic:
			outputs = append(outputs, t.Name)
		case topology.SourceTopic:
		default:
			continue
		}
		if err := s.broker.CreateTopic(t.Name, 1); err != nil {
			s.close()
			return nil, err
		}
	}
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(s.broker.Addr()), kgo.ProducerLinger(0)); err != nil {
		s.close()
		return nil, fmt.Errorf("connect to the embedded broker: %w", err)
	}
	if len(outputs) > 0 {
		s.printer, err = newPrinter(s.broker.Addr(), outputs, out, json)
	}
	if err != nil {
		s.close()
	}
	return s, err
}

func onlySource(plan *topology.Plan) (string, error) {
	var names []string
	for _, t := range plan.Topics {
		if t.Kind == topology.SourceTopic {
			names = append(names, t.Name)
		}
	}
	if len(names) != 1 {
		return "", usageError("dev feeds one source, and %s reads %s", plan.Job, plural(len(names), "topic"))
	}
	return names[0], nil
}

func (s *devSession) close() {
	if s.printer != nil {
		s.printer.close()
	}
	if s.client != nil {
		s.client.Close()
	}
	s.broker.Close()
}

// pipe feeds the source until stdin ends, waits until all of it is committed,
// and until what the job wrote is printed.
func (s *devSession) pipe(ctx context.Context) error {
	fed := make(chan error, 1) // beside: reading stdin cannot be interrupted
	go func() { fed <- s.feed(ctx) }()
	printed := make(chan error, 1)
	if s.printer != nil {
		go func() { printed <- s.printer.run(ctx) }()
	}
	select {
	case err := <-fed:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, stage := range s.plan.Stages {
		if err := s.drained(ctx, stage); err != nil {
			return err
		}
	}
	if s.printer == nil {
		return nil
	}
	if err := s.printer.finish(ctx); err != nil {
		return err
	}
	return <-printed
}

// maxLine bounds a line of input.
const maxLine = 16 << 20

func (s *devSession) feed(ctx context.Context) error {
	lines := bufio.NewScanner(s.in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var failed error
	for lines.Scan() && ctx.Err() == nil {
		if len(lines.Bytes()) == 0 {
			continue
		}
		s.client.Produce(ctx, s.record(lines.Text()), func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // read after Flush
			}
		})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	return errors.Join(s.client.Flush(ctx), failed)
}

// record makes a line the record that the source's producer would have made of
// it. A line that has no key is passed on without: the job says what is wrong.
func (s *devSession) record(line string) *kgo.Record {
	r := &kgo.Record{Topic: s.source, Value: []byte(line)}
	if s.keyOf != nil {
		if key, err := s.keyOf(r.Value); err == nil {
			r.Key = key
		}
	}
	return r
}
