package cli

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// trust verifies a savepoint that a generation is about to begin with, while
// nothing has been touched: afterwards the job could not run with it, nor
// without. It is not read where its stores are still on this seat and are
// adopted (P15), nor where the start goes on with what is current.
func (p *process) trust(ctx context.Context, start control.StartOptions) error {
	if start.Savepoint == nil || start.Savepoint.Opened == nil {
		return nil
	}
	// An error is left to Begin, which meets it too and knows what to wait for.
	preview, err := p.plane.Preview(ctx, p.plan, start)
	begins := preview.Action == control.Create || preview.Action == control.Wait || preview.Action == control.Remove
	if err != nil || !begins {
		return nil
	}
	sp := start.Savepoint.Opened
	if p.hasStores(sp.Manifest()) {
		return nil
	}
	return p.verify(ctx, sp)
}

// hasStores reports whether this seat has a directory of every store that the
// savepoint was taken of.
func (p *process) hasStores(m *savepoint.Manifest) bool {
	if m.Job != p.plan.Job || len(m.Stores) == 0 {
		return false
	}
	for _, s := range m.Stores {
		for _, part := range s.Parts {
			if _, err := os.Stat(p.seat.StoreDir(m.Generation, s.UID, part.Partition)); err != nil {
				return false
			}
		}
	}
	return true
}

// verify reads all of a savepoint and logs every few seconds how far it is.
func (p *process) verify(ctx context.Context, sp *savepoint.Savepoint) error {
	m := sp.Manifest()
	p.setPhase("verifying the savepoint")
	var read atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.log.Info("verifying the savepoint", "savepoint", m.ID, "read", byteText(read.Load()), "of", byteText(m.Bytes()))
			case <-done:
				return
			}
		}
	}()
	err := sp.Verify(ctx, func(bytes int) { read.Add(int64(bytes)) })
	close(done)
	<-ended
	return err
}
