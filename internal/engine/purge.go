package engine

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// purgeEvery is how often consumed repartition records are deleted.
const purgeEvery = 30 * time.Second

// purge deletes the records of repartition topics that the stage behind them
// has committed (P23): the topics have no retention of their own, since the
// records carry old timestamps. A failure is no harm but disk; the next turn
// deletes more.
func (p *process) purge(ctx context.Context) {
	for {
		wait(ctx, purgeEvery)
		if ctx.Err() != nil {
			return
		}
		offsets := p.consumedRepartitions()
		if len(offsets) == 0 {
			continue
		}
		responses, err := p.adm.DeleteRecords(ctx, offsets)
		if err == nil {
			err = responses.Error()
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("deleting consumed records of repartition topics; trying again later", "err", err)
		}
	}
}

// consumedRepartitions takes the committed offsets that workers noted since the
// last time.
func (p *process) consumedRepartitions() kadm.Offsets {
	p.mu.Lock()
	defer p.mu.Unlock()
	offsets := kadm.Offsets{}
	for tp, offset := range p.consumed {
		offsets.AddOffset(tp.topic, tp.partition, offset, -1)
	}
	clear(p.consumed)
	return offsets
}

// noteConsumed keeps what a task has committed of its repartition inputs.
func (p *process) noteConsumed(t *task) {
	for i, in := range t.inputs {
		if t.stage.internal[i] {
			p.mu.Lock()
			p.consumed[topicPartition{t.stage.inputs[i], t.ref.partition}] = in.committed
			p.mu.Unlock()
		}
	}
}

// tidyAfter is when a process deletes what earlier generations left on its disk:
// not while it starts, when everybody waits for its syncs.
const tidyAfter = 5 * time.Second

// tidySeat removes the state of generations that nobody has a use for.
func (p *process) tidySeat(ctx context.Context) {
	wait(ctx, tidyAfter)
	if ctx.Err() != nil {
		return // the next process does it
	}
	if err := p.cfg.Lease.Tidy(); err != nil {
		p.log.Warn("removing the state of older generations; it only takes space", "err", err)
	}
}
