package control

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// settleTime is how long the broker that was asked may not know of a topic
	// that another one created or deleted, before its word counts.
	settleTime  = 5 * time.Second
	settlePause = 20 * time.Millisecond
	// remadeTime is the same where it knows an internal topic by another id: only
	// deciders make these, so the broker is nearly always behind (seen for more
	// than 5 s on a loaded machine), and the refusal says to give the state up.
	remadeTime = 30 * time.Second
)

// join makes the lease of what is current.
func (b *beginning) join(ctx context.Context, verdict Verdict, group members) (*Lease, error) {
	p := b.plane
	c, _ := p.tail.View().Current()
	lease := &Lease{
		Job: p.settings.Job, StartID: b.startID,
		Generation: c.Generation, Revision: c.Revision, JobHash: c.JobHash, Run: verdict.Run,
		plane: p, stores: c.Stores, seat: b.seat,
		base: &baseFinder{generation: &c.Generation, options: b.options},
	}
	if verdict.Reason != "" {
		p.settings.Logger.Info("going on with what is current", "generation", c.Generation.Generation, "reason", verdict.Reason)
	}
	// A static member keeps its old protocol until it rejoins, and the group
	// would refuse this process because of its own past. The seat's lock says
	// that nobody else is on it (P2).
	if own, _ := group.split(b.seat.InstancePrefix()); len(own) > 0 && group.protocol != lease.Protocol() {
		if err := p.leave(ctx, "seat taken by a new process", own...); err != nil {
			return nil, err
		}
	}
	if err := p.checkTopics(ctx, c.Generation, b.definition.Outputs); err != nil {
		return nil, err
	}
	if err := lease.seesBase(); err != nil {
		return nil, err
	}
	return lease, nil
}

// CheckTopics compares the sources and internal topics that exist now with
// those that the generation began with (O4, O5). The error is *[Refused] if
// they are not the same: stop before a key is on two partitions.
func (l *Lease) CheckTopics(ctx context.Context) error {
	return l.plane.checkTopics(ctx, l.Generation, nil)
}

// checkTopics asks again for a while before it refuses what may pass.
func (p *Plane) checkTopics(ctx context.Context, g Generation, outputs []string) error {
	for began := time.Now(); ; {
		found, err := p.findAll(ctx, g, outputs)
		if err != nil {
			return err
		}
		refused := checkTopics(g, found)
		if refused == nil {
			return missing(outputs, found)
		}
		if time.Since(began) >= mayLag(g, found) {
			return refused
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// findAll looks up topics and, of those with state, settings at the same time.
func (p *Plane) findAll(ctx context.Context, g Generation, outputs []string) (map[string]foundTopic, error) {
	names := append(slices.Clone(outputs), ControlTopic(g.Job))
	state := []string{ControlTopic(g.Job)}
	for _, t := range g.Topics {
		if compacted(t.Name) {
			state = append(state, t.Name)
		}
		names = append(names, t.Name)
	}
	for _, t := range g.Sources {
		names = append(names, t.Name)
	}
	var found map[string]foundTopic
	var settings map[string]map[string]string
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) { found, err = p.find(ctx, names...); return err })
	both.Go(func() (err error) { settings, err = p.topicSettings(ctx, state...); return err })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	for name, t := range found {
		t.Policy = settings[name][cleanupPolicy]
		found[name] = t
	}
	return found, nil
}

// mayLag is how long the broker that was asked may not know what others have
// done: a topic is missing, or an internal one is still that of a decider that
// was fenced and whose topics were made anew (seen with three starts at once). 0:
// it knows.
func mayLag(g Generation, found map[string]foundTopic) (d time.Duration) {
	for _, t := range g.Sources {
		if _, ok := found[t.Name]; !ok {
			d = settleTime
		}
	}
	for _, t := range g.Topics {
		switch have, ok := found[t.Name]; {
		case !ok:
			d = max(d, settleTime)
		case have.ID != t.ID:
			return remadeTime
		}
	}
	return d
}
