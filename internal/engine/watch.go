package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sys/unix"

	"github.com/procd/procd/internal/control"
)

// watchControl ends the process when the job is stopped, or another generation
// or revision is current (P2, P6).
func (p *process) watchControl(ctx context.Context) error {
	tail := p.cfg.Lease.Tail()
	for {
		changed := tail.Changed()
		if err := p.cfg.Lease.Check(tail.View()); err != nil {
			return err
		}
		if err := tail.Err(); err != nil {
			return err
		}
		p.wake() // there may be something to do for a savepoint
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// wake makes every worker take a turn.
func (p *process) wake() {
	for _, w := range p.workers {
		w.mail.post(func() {})
	}
}

// watchEvery is how often topics and disk are looked at.
const watchEvery = 5 * time.Second

// watchSurroundings looks at what the job stands on. It stops the job, cleanly,
// when a source topic is not what the state was made from any more (O4, O5). No
// key is split meanwhile: partitions that are new belong to no task.
func (p *process) watchSurroundings(ctx context.Context) error {
	for {
		p.checkDisk()
		p.checkBlocked(ctx)
		wait(ctx, watchEvery)
		if ctx.Err() != nil {
			return nil
		}
		if err := p.checkSources(ctx); err != nil {
			return err
		}
	}
}

// diskReserve is what is left free of the data directory's file system: 256 MiB,
// or a tenth of a small one. Below it the inputs are paused, since a full disk
// would end the process in the middle of a write (S9).
func diskReserve(size uint64) uint64 { return min(256<<20, size/10) }

// checkDisk pauses the inputs while the disk is nearly full.
func (p *process) checkDisk() {
	var fs unix.Statfs_t
	if err := unix.Statfs(p.cfg.Seat.Dir(), &fs); err != nil {
		p.log.Warn("asking for the free disk space", "dir", p.cfg.Seat.Dir(), "err", err)
		return
	}
	free, size := fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	p.metrics.diskFree.Set(float64(free))
	low := free < diskReserve(size)
	if p.diskLow.Swap(low) == low {
		return
	}
	if low {
		p.log.Error("the disk is nearly full; inputs are paused until there is room", "dir", p.cfg.Seat.Dir(), "free", free, "reserve", diskReserve(size))
	} else {
		p.log.Info("there is room on the disk again; inputs go on", "dir", p.cfg.Seat.Dir(), "free", free)
	}
	p.wake()
}

// checkBlocked exports how much of the sources an open transaction of somebody
// holds back (T5). What cannot be asked now is asked again later.
func (p *process) checkBlocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	topics := p.sources()
	stable, err := p.adm.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return
	}
	ends, err := p.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return
	}
	ends.Each(func(end kadm.ListedOffset) {
		if s, ok := stable.Lookup(end.Topic, end.Partition); ok && s.Err == nil && end.Err == nil {
			p.metrics.blocked.WithLabelValues(end.Topic, strconv.Itoa(int(end.Partition))).Set(float64(max(end.Offset-s.Offset, 0)))
		}
	})
}

// sources are the names of the job's source topics.
func (p *process) sources() []string {
	names := make([]string, len(p.cfg.Lease.Generation.Sources))
	for i, s := range p.cfg.Lease.Generation.Sources {
		names[i] = s.Name
	}
	return names
}

// checkSources compares the sources with the generation record. What cannot be
// asked now is asked again later.
func (p *process) checkSources(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	topics, err := p.adm.ListTopics(ctx, p.sources()...)
	if err != nil {
		return nil
	}
	for _, want := range p.cfg.Lease.Generation.Sources {
		have, ok := topics[want.Name]
		switch {
		case !ok, have.Err != nil && !errors.Is(have.Err, kerr.UnknownTopicOrPartition):
		case have.Err != nil:
			return &control.Refused{
				Reason: fmt.Sprintf("topic %s was deleted", want.Name),
				Hint:   fmt.Sprintf("its offsets mean nothing any more: begin anew with `procd reset %s`", p.cfg.Lease.Job),
			}
		case control.TopicID(have.ID) != want.ID:
			return &control.Refused{
				Reason: fmt.Sprintf("topic %s was deleted and created again", want.Name),
				Hint:   fmt.Sprintf("its offsets mean nothing any more: begin anew with `procd reset %s`", p.cfg.Lease.Job),
			}
		case int32(len(have.Partitions)) != want.Partitions:
			return &control.Refused{
				Reason: fmt.Sprintf("partition count of %s changed from %d to %d; state cannot follow", want.Name, want.Partitions, len(have.Partitions)),
				Hint:   fmt.Sprintf("put %d back, or `procd reset %s`", want.Partitions, p.cfg.Lease.Job),
			}
		}
	}
	return nil
}
