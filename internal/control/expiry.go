package control

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/procd/procd/savepoint"
)

// Expiry says how long a job can still go on from a savepoint without a gap: its
// sources delete what comes after it.
type Expiry struct {
	// Lost is how many records behind the savepoint's offsets the sources have
	// deleted already.
	Lost int64
	// Left is the time until they begin to, by their age. It is negative once
	// they may; [Never] where no source deletes by age.
	Left time.Duration
	// Kept is the shortest time that a source keeps its records; [Never] where
	// all keep them for ever.
	Kept time.Duration
}

// Never is a time that does not come.
const Never = time.Duration(math.MaxInt64)

// Soon reports whether it is time for another savepoint: records are lost, or
// less than a fifth of the sources' retention is left.
func (e Expiry) Soon() bool { return e.Lost > 0 || e.Kept != Never && e.Left < e.Kept/5 }

// Expiry asks the brokers how long the sources of a savepoint still have what
// comes after it. Records are counted as old as the savepoint: those of a job
// that was behind are older. Sources that are not there any more, or were made
// anew, are left out: no retention is to blame for them.
func (p *Plane) Expiry(ctx context.Context, m *savepoint.Manifest) (Expiry, error) {
	e := Expiry{Left: Never, Kept: Never}
	names := make([]string, 0, len(m.Sources))
	for _, t := range m.Sources {
		names = append(names, t.Name)
	}
	found, err := p.find(ctx, names...)
	if err != nil {
		return e, err
	}
	ours := slices.DeleteFunc(slices.Clone(m.Sources), func(t savepoint.Topic) bool { return found[t.Name].ID.String() != t.ID })
	if len(ours) == 0 {
		return e, nil
	}
	starts, err := p.adm.ListStartOffsets(ctx, names...)
	if err != nil {
		return e, fmt.Errorf("procd/control: start offsets: %w", err)
	}
	settings, err := p.topicSettings(ctx, names...)
	if err != nil {
		return e, err
	}
	offsets := m.Offsets()
	for _, t := range ours {
		start, err := listed(starts, t.Name, t.Partitions)
		if err != nil {
			return e, fmt.Errorf("procd/control: start offset of %w", err)
		}
		for i, at := range offsets[t.Name] {
			e.Lost += max(0, start[i]-at)
		}
		e.Kept = min(e.Kept, keeps(settings[t.Name]))
	}
	if e.Kept != Never {
		e.Left = e.Kept - p.settings.Now().Sub(m.CreatedAt)
	}
	return e, nil
}

// keeps is how long a topic of these settings keeps records.
func keeps(settings map[string]string) time.Duration {
	ms, err := strconv.ParseInt(settings[retention], 10, 64)
	if err != nil || ms < 0 || ms > Never.Milliseconds() || !strings.Contains(settings[cleanupPolicy], "delete") {
		return Never
	}
	return time.Duration(ms) * time.Millisecond
}
