package cli

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
)

// trust verifies a savepoint that a generation is about to begin with, while
// nothing has been touched: afterwards the job could not run with it, nor
// without. Nothing is read where the start goes on with what is current, and of
// tables that are still on this seat and are adopted only names and sizes are
// compared (P15).
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
	return refuseDamaged(p.verify(ctx, start.Savepoint.Opened))
}

// refuseDamaged makes a refusal of a damaged savepoint: nothing has begun with it.
func refuseDamaged(err error) error {
	if !errors.Is(err, savepoint.ErrDamaged) {
		return err
	}
	return &failure{code: Refused, err: err, hint: "nothing was changed; bring the files back, or start from another savepoint"}
}

// adopts reports whether a file of a savepoint need not be copied, since this
// seat has it.
func (p *process) adopts(m *savepoint.Manifest, part *savepoint.Part, f savepoint.File) bool {
	dir := p.seat.StoreDir(m.Generation, part.UID, part.Partition)
	return m.Job == p.plan.Job && kstate.Adopts(dir, part.Instance, kstate.BaseFile{Name: f.Name, Size: f.Size})
}

// verify reads a savepoint and logs every few seconds how far it is.
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
	adopts := func(part *savepoint.Part, f savepoint.File) bool { return p.adopts(m, part, f) }
	err := sp.VerifyUnless(ctx, adopts, func(bytes int) { read.Add(int64(bytes)) })
	close(done)
	<-ended
	return err
}
