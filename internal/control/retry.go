package control

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// patience is how long a coordinator may be missing or loading: on a
	// cluster that nobody has used yet, its internal topics are only made now.
	patience      = 15 * time.Second
	patiencePause = 50 * time.Millisecond
)

// retry repeats a request while the cluster says that it cannot answer yet.
// kgo does so for most requests, but not for finding a group's coordinator.
func retry(ctx context.Context, request func() error) error {
	for end := time.Now().Add(patience); ; {
		err := request()
		if err == nil || !kerr.IsRetriable(err) || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(patiencePause):
		case <-ctx.Done():
			return err
		}
	}
}

// passes reports an error that says no more than that the brokers cannot be
// reached, or not yet.
func passes(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || kerr.IsRetriable(err)
}
