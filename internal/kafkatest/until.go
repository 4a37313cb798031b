package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// permanent marks an error that asking again cannot mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent makes [Until] give up at once with err.
func Permanent(err error) error { return permanent{err} }

// Until calls check every so often until it returns nil. When ctx ends first,
// the error holds the last answer of check, which says what was missing.
func Until(ctx context.Context, every time.Duration, check func() error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if p := (permanent{}); errors.As(err, &p) {
			return p.error
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w (last: %w)", ctx.Err(), err)
		}
	}
}
