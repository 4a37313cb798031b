package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

const (
	// fenceTimeout bounds fencing; an abort takes milliseconds unless partitions
	// of the transaction have no leader.
	fenceTimeout = time.Minute
	// fencePause is the first pause before the broker is asked again, and
	// fencePauseMax the longest; a restart waits for it.
	fencePause    = 5 * time.Millisecond
	fencePauseMax = 100 * time.Millisecond
	fenceAtOnce   = 16
)

// fence initialises every transactional id of the job but the decider's own,
// so that no transaction begun before can still commit (P5). Only when each
// one is known to be fenced does it return nil; offsets read after that, and
// stable, are final.
func (p *Plane) fence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	// A shard that fails would make the list shorter, and a transaction that
	// is not in it would commit after the switch.
	listed, err := p.adm.ListTransactions(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("procd/control: list transactions: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fenceAtOnce)
	for _, tx := range listed.Sorted() {
		if !strings.HasPrefix(tx.TxnID, transactionPrefix(p.settings.Job)) || tx.TxnID == ControlID(p.settings.Job) {
			continue
		}
		group.Go(func() error { return p.fenceOne(ctx, tx.TxnID) })
	}
	return group.Wait()
}

// Fence makes sure that no transaction of one of the job's transactional ids is
// open, whoever began it, and that none can be ended any more (P5).
func (l *Lease) Fence(ctx context.Context, id string) error { return l.plane.fenceOne(ctx, id) }

// fenceOne retries while the broker is still aborting what was open.
func (p *Plane) fenceOne(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	for pause := fencePause; ; pause = min(2*pause, fencePauseMax) {
		err := p.initProducer(ctx, id, -1, -1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) && !kerr.IsRetriable(err) {
			return fmt.Errorf("procd/control: fence %s: %w", id, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("procd/control: fence %s: its transaction did not end: %w", id, err)
		}
	}
}

// initProducer gives a transactional id a new epoch. With the id and epoch of a
// producer it does so only if that one is still the newest.
func (p *Plane) initProducer(ctx context.Context, id string, producerID int64, epoch int16) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = int32(deciderTimeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = producerID, epoch
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
