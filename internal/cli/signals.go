package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signalled is the cause with which a signal ends a command's context.
type signalled struct{ signal os.Signal }

func (s signalled) Error() string { return "interrupted by signal: " + s.signal.String() }

// Is makes it a cancellation like any other to those who need not know more.
func (s signalled) Is(target error) bool { return target == context.Canceled }

// gaveUp reports whether ctx was ended by Ctrl-C: whoever presses it does not
// mean to come back (P3).
func gaveUp(ctx context.Context) bool {
	var s signalled
	return errors.As(context.Cause(ctx), &s) && s.signal == syscall.SIGINT
}

// echo is how soon after the first one a signal still counts as the same:
// timeout(1) and some supervisors signal the process and then its group.
const echo = 100 * time.Millisecond

// withSignals returns a context that the first SIGINT or SIGTERM ends. The
// second one ends the process at once.
func withSignals(ctx context.Context, errOut io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stop := make(chan struct{})
	go func() {
		for first := (time.Time{}); ; {
			select {
			case s := <-signals:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel(signalled{s})
				case time.Since(first) > echo:
					fmt.Fprintln(errOut, "procd: second signal: ending at once")
					os.Exit(Failed)
				}
			case <-stop:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stop)
		cancel(nil)
	}
}
