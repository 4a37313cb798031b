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
		answers, err := p.listStart(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("procd/control: start offsets of %s: %w", s.Topic, err)
		}
		if start[s.Topic], err = listed(answers, s.Topic, counts[s.Topic]); err != nil {
			return nil, fmt.Errorf("procd/control: start offset of %w", err)
		}
	}
	return start, nil
}

// listed takes the offset of every partition of a topic, or says which one the
// brokers did not tell: kadm reports some failures only per partition (P1).
func listed(answers kadm.ListedOffsets, topic string, partitions int32) ([]int64, error) {
	offsets := make([]int64, partitions)
	for i := range offsets {
		o, ok := answers.Lookup(topic, int32(i))
		switch {
		case !ok:
			return nil, fmt.Errorf("%s partition %d: the broker did not answer for it", topic, i)
		case o.Err != nil:
			return nil, fmt.Errorf("%s partition %d: %w", topic, i, o.Err)
		case o.Offset < 0:
			return nil, fmt.Errorf("%s partition %d: the broker answered %d", topic, i, o.Offset)
		}
		offsets[i] = o.Offset
	}
	return offsets, nil
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
