package control

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/procd/procd/topology"
)

// resolveStart turns earliest, latest, a time or an age into an offset for
// every partition of every source, once and for all of the generation: a
// symbolic start would mean something else after every abort and on every
// partition that has no commit yet (O2).
func (p *Plane) resolveStart(ctx context.Context, sources []SourceDefinition, counts map[string]int32) (Offsets, error) {
	start := make(Offsets, len(sources))
	for _, s := range sources {
		listed, err := p.listStart(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("procd/control: start offsets of %s: %w", s.Topic, err)
		}
		offsets := make([]int64, counts[s.Topic])
		for i := range offsets {
			o, ok := listed.Lookup(s.Topic, int32(i))
			switch {
			case !ok:
				return nil, fmt.Errorf("procd/control: start offset of %s partition %d: the broker did not answer for it", s.Topic, i)
			case o.Err != nil:
				return nil, fmt.Errorf("procd/control: start offset of %s partition %d: %w", s.Topic, i, o.Err)
			case o.Offset < 0:
				return nil, fmt.Errorf("procd/control: start offset of %s partition %d: the broker answered %d", s.Topic, i, o.Offset)
			}
			offsets[i] = o.Offset
		}
		start[s.Topic] = offsets
	}
	return start, nil
}

func (p *Plane) listStart(ctx context.Context, s SourceDefinition) (kadm.ListedOffsets, error) {
	switch s.Start.Kind {
	case topology.StartLatest:
		return p.adm.ListEndOffsets(ctx, s.Topic)
	case topology.StartAtTime:
		return p.adm.ListOffsetsAfterMilli(ctx, s.Start.Time, s.Topic)
	case topology.StartAgo:
		return p.adm.ListOffsetsAfterMilli(ctx, p.settings.Now().Add(-s.Start.Ago).UnixMilli(), s.Topic)
	}
	return p.adm.ListStartOffsets(ctx, s.Topic)
}
