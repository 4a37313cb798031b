package control

import (
	"context"
	"fmt"

	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
)

// Lease is the right to run one revision of one generation: what [Plane.Begin]
// returns, and what every worker has to check after each sync of the group and
// before its first fetch (P2).
type Lease struct {
	Job        string
	StartID    string     // of this process
	Generation Generation // the record, including topic ids and start offsets
	Revision   int
	JobHash    string
	Run        int

	plane  *Plane
	stores []StoreSchemas
	seat   *seat.Seat
	base   *baseFinder
}

// Protocol is the name that the group's balancer must have.
func (l *Lease) Protocol() string {
	return ProtocolName(l.Generation.Generation, l.Revision, l.JobHash)
}

// Schemas are the numbered schemas of a store and the version to write; ok is
// false for a store that the generation does not have (P18).
func (l *Lease) Schemas(uid string) (versions []kstate.SchemaVersion, current int, ok bool) {
	for _, s := range l.stores {
		if s.UID != uid {
			continue
		}
		for i, schema := range s.Versions {
			versions = append(versions, kstate.SchemaVersion{Version: i + 1, Schema: schema})
		}
		return versions, s.Current, true
	}
	return nil, 0, false
}

// Start is where a source partition begins that has neither a position record
// nor a committed offset of this generation (P8); ok is false for a partition
// that did not exist when the generation began (O5).
func (l *Lease) Start(topic string, partition int32) (offset int64, ok bool) {
	return l.Generation.Start.At(topic, partition)
}

// Tail is the process's reader of the control topic.
func (l *Lease) Tail() *Tail { return l.plane.tail }

// Check says whether the lease still holds in that view: nil, [ErrStopped] or
// [ErrSuperseded].
func (l *Lease) Check(v *View) error {
	c, ok := v.Current()
	if !ok {
		return fmt.Errorf("%w: the control topic holds no generation any more", ErrSuperseded)
	}
	g, r := c.Generation.Generation, c.Revision
	if g != l.Generation.Generation || r != l.Revision || c.JobHash != l.JobHash {
		return fmt.Errorf("%w: this process runs generation %d revision %d, current is generation %d revision %d",
			ErrSuperseded, l.Generation.Generation, l.Revision, g, r)
	}
	if c.State.State == Reset {
		return fmt.Errorf("%w: the job was reset by %s", ErrSuperseded, c.State.By)
	}
	// Stopped and resumed while this process slept: it was told to stop, and
	// a later run's requests must not meet it (P6).
	if c.State.State == Stopped || c.State.Run != l.Run {
		return fmt.Errorf("%w: run %d", ErrStopped, l.Run)
	}
	return nil
}

// Verify reads the control topic to its end, as of now, and checks the lease
// against it (P2). Errors other than [ErrStopped] and [ErrSuperseded] say that
// the topic could not be read: nothing is known, so nothing may be fetched.
func (l *Lease) Verify(ctx context.Context) error {
	if err := l.plane.tail.ReadToEnd(ctx); err != nil {
		return err
	}
	return l.Check(l.plane.tail.View())
}
