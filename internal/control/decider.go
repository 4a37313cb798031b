package control

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// deciderTimeout is the decider's transaction timeout: how long a decider that
// died in the middle can delay those who read the topic (T4).
const deciderTimeout = 10 * time.Second

// decider is the one process that may write what decides, until another one
// becomes it. It is used for one decision.
type decider struct {
	plane *Plane
	cl    *kgo.Client
}

// deciderPause is the longest first pause of a decider that was fenced: about
// as long as a decision takes.
const deciderPause = 500 * time.Millisecond

// maxRounds bounds how often a decision is tried after another decider or an
// unknown outcome came between.
const maxRounds = 8

// errUndecided says that a decision was not, or perhaps not, written: read
// back and decide again (P1).
var errUndecided = errors.New("procd/control: outcome of the decision is unknown")

// becomeTimeout bounds how long a client tries to become decider, before another
// client tries: longer than an open transaction can delay it.
const becomeTimeout = deciderTimeout + 5*time.Second

// becomeDecider fences any other decider and then reads the topic to its end:
// from here until somebody fences this one, the View is all there is (P1).
func (p *Plane) becomeDecider(ctx context.Context) (*decider, error) {
	ctx, cancel := context.WithTimeout(ctx, becomeTimeout)
	defer cancel()
	opts, err := p.settings.Cluster.Opts()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.TransactionalID(ControlID(p.settings.Job)),
		kgo.TransactionTimeout(deciderTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond), // T10
		kgo.ProducerLinger(0),
	)...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: %w", err)
	}
	d := &decider{plane: p, cl: cl}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		d.close()
		return nil, fmt.Errorf("procd/control: become decider: %w", undecided(err))
	}
	if err := p.tail.ReadToEnd(ctx); err != nil {
		d.close()
		if ctx.Err() != nil {
			err = undecided(err)
		}
		return nil, err
	}
	return d, nil
}

// close gives up deciding; a transaction that is still open is aborted by the
// next decider, or by its timeout.
func (d *decider) close() { d.cl.Close() }

// commit writes all records in one transaction. On any error the outcome is
// unknown, since even an error of the last step may come after it was applied.
func (d *decider) commit(ctx context.Context, entries []entry) error {
	ctx, cancel := context.WithTimeout(ctx, deciderTimeout)
	defer cancel()
	if err := d.cl.BeginTransaction(); err != nil {
		return fmt.Errorf("procd/control: decide: %w", undecided(err))
	}
	records := make([]*kgo.Record, 0, len(entries))
	for _, e := range entries {
		records = append(records, &kgo.Record{Topic: ControlTopic(d.plane.settings.Job), Key: []byte(e.key), Value: e.value})
	}
	if err := d.cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("procd/control: decide: %w", undecided(err))
	}
	if err := d.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("procd/control: decide: %w", undecided(err))
	}
	return nil
}

// conflict says what it means that a topic was there already: either its maker
// was fenced by this decider, or this decider by its maker. Only the former
// may go on at once. It ends the decider's turn.
func (d *decider) conflict(ctx context.Context, cause error) error {
	id, epoch, err := d.cl.ProducerID(ctx)
	if err == nil {
		err = d.plane.initProducer(ctx, ControlID(d.plane.settings.Job), id, epoch)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", cause, undecided(err))
	}
	return cause
}

// undecided marks an error of the decider as one to read back after, and names
// it where another decider is the cause. Only what no repetition can change
// stays as it is.
func undecided(err error) error {
	switch {
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return fmt.Errorf("%w: %w: %w", errUndecided, ErrFenced, err)
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.ClusterAuthorizationFailed):
		return err
	}
	return fmt.Errorf("%w: %w", errUndecided, err)
}

// decide runs one attempt at a decision until it is known to have been made,
// or not to be needed. Each attempt begins by becoming decider, which settles
// what the one before left open: a plain reader would have to wait for that
// transaction's timeout.
//
// Deciders that fence each other at once would do so for ever. Whoever was
// fenced lets the other one finish: the pauses grow and differ, and end early
// only if settled says that the View holds what this decision was about.
func (p *Plane) decide(ctx context.Context, attempt func(context.Context) error, settled func() bool) error {
	for n := 1; ; n++ {
		err := attempt(ctx)
		if !errors.Is(err, errUndecided) && !errors.Is(err, errConflict) {
			return err
		}
		if n == maxRounds {
			return fmt.Errorf("%w (tried %d times)", err, n)
		}
		p.settings.Logger.Debug("deciding again", "cause", err)
		if !errors.Is(err, errUndecided) && n == 1 {
			continue // the second time on, a broker has yet to hear of topics that the controller has
		}
		longest := deciderPause << min(n-1, 3)
		if err := p.pause(ctx, longest/2+mathrand.N(longest/2), settled); err != nil {
			return err
		}
	}
}

// pause waits until d is over or the topic says something that settles what
// the caller waits for.
func (p *Plane) pause(ctx context.Context, d time.Duration, settled func() bool) error {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		changed := p.tail.Changed()
		if err := p.tail.Err(); err != nil || settled() {
			return err
		}
		select {
		case <-changed:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
