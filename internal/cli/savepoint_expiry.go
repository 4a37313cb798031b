package cli

import (
	"context"
	"math"
	"time"

	"github.com/procd/procd/internal/control"
)

// expiryEvery is how often the coordinating process looks what the retention of
// the source topics leaves of the last savepoint's use.
const expiryEvery = time.Minute

// watchExpiry warns before the sources have deleted what comes after the last
// savepoint, until ctx ends.
func (p *process) watchExpiry(ctx context.Context) {
	ticker := time.NewTicker(expiryEvery)
	defer ticker.Stop()
	for warned := ""; ; {
		last, _ := p.lease.Tail().View().LastSaved()
		id := last.ID
		if e, ok := p.expiry(ctx, id); ok {
			p.savepoints.expires(e)
			if e.Soon() && warned != id {
				warned = id
				p.log.Warn("the source topics delete what comes after the last savepoint; take another one",
					"savepoint", id, "deleted_records", e.Lost, "left", e.Left.Round(time.Second), "retention", e.Kept)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// expiry looks at a savepoint; what cannot be asked now is asked again later.
func (p *process) expiry(ctx context.Context, id string) (control.Expiry, bool) {
	if id == "" {
		return control.Expiry{}, false
	}
	sp, err := p.location.Open(id)
	if err != nil {
		p.log.Debug("looking at the last savepoint", "savepoint", id, "err", err)
		return control.Expiry{}, false
	}
	defer sp.Close()
	e, err := p.plane.Expiry(ctx, sp.Manifest())
	if err != nil {
		p.log.Debug("asking for the retention of the sources", "err", err)
	}
	return e, err == nil
}

func (m *savepointMetrics) expires(e control.Expiry) {
	m.lost.Set(float64(e.Lost))
	m.left.Set(e.Left.Seconds())
	if e.Left == control.Never {
		m.left.Set(math.Inf(1))
	}
}
