package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/procd/procd/config"
	"github.com/procd/procd/internal/admin"
	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/engine"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

// Exit codes. They are a promise to scripts.
const (
	Done     = 0 // done
	Failed   = 1 // failed
	Usage    = 2 // wrong usage, or an invalid job
	Refused  = 3 // state or offsets would be lost or do not match
	NotFound = 4 // no such job, savepoint, topic or broker
	TimedOut = 5 // timed out; the work goes on there
)

// failure is an error that knows its exit code and what to do about it.
type failure struct {
	code int
	err  error
	hint string // what to do; may be empty
}

func (f *failure) Error() string {
	if f.hint == "" {
		return f.err.Error()
	}
	return f.err.Error() + "; " + f.hint
}

func (f *failure) Unwrap() error { return f.err }

// usageError is a command line that makes no sense.
func usageError(format string, args ...any) error {
	return &failure{code: Usage, err: fmt.Errorf(format, args...)}
}

// codes are the exit codes of errors that others define, the first match
// counts. What is not here is Failed.
var codes = []struct {
	is   func(error) bool
	code int
}{
	{as[*control.Refused], Refused},
	{as[*engine.OffsetsError], Refused},
	{as[*engine.PartitionError], Refused},
	{as[*engine.RangeError], Refused},
	{as[*topology.Refused], Refused},
	{is(control.ErrSuperseded, cluster.ErrOldTransactions), Refused},
	{is(control.ErrNewerFormat, seat.ErrNewerFormat, kstate.ErrNewerFormat, savepoint.ErrNewerFormat), Refused},
	{is(control.ErrNoJob, control.ErrTopicMissing, cluster.ErrUnreachable, savepoint.ErrNotFound), NotFound},
	{is(config.ErrInvalid, cluster.ErrConfig, admin.ErrAddress, savepoint.ErrKey), Usage},
	{is(control.ErrTimeout, context.DeadlineExceeded), TimedOut},
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
}

// exitCode is what a command that ended with err exits with.
func exitCode(err error) int {
	if err == nil {
		return Done
	}
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	for _, c := range codes {
		if c.is(err) {
			return c.code
		}
	}
	return Failed
}

// hinted is an error of another package that says what to do beside its text.
type hinted interface {
	error
	Hint() string
}

// packagePrefix is what sentinels begin with: for developers, not for users.
var packagePrefix = regexp.MustCompile(`\bprocd/[a-z/]+: `)

// report prints an error for a person.
func report(w io.Writer, err error) {
	text := err.Error()
	if mistakes := (config.Errors{}); errors.As(err, &mistakes) {
		// The form that editors understand: file:line:column first.
		for _, m := range mistakes {
			fmt.Fprintln(w, m)
		}
		text = fmt.Sprintf("%s is not valid: %s", mistakes[0].File, plural(len(mistakes), "mistake"))
	}
	if errors.Is(err, cluster.ErrUnreachable) {
		text += "; are --brokers, $PROCD_BROKERS or brokers: in --config right, and is it running?"
	}
	if h := hinted(nil); errors.As(err, &h) && h.Hint() != "" {
		text += "; " + h.Hint()
	}
	fmt.Fprintf(w, "procd: %s\n", packagePrefix.ReplaceAllString(text, ""))
}
