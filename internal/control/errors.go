package control

import (
	"errors"

	"github.com/procd/procd/savepoint"
)

var (
	// ErrStopped says that the job was stopped: finish the commit, give the
	// seat up, exit 0 (P6).
	ErrStopped = errors.New("procd/control: the job was stopped")
	// ErrSuperseded says that another generation or revision than the one
	// this process runs is current: leave the group and exit 3 (P2).
	ErrSuperseded = errors.New("procd/control: another generation or revision of the job is current")
	// ErrNoJob says that the cluster has no control topic of that job.
	ErrNoJob = errors.New("procd/control: no such job")
	// ErrNewerFormat says that a newer procd wrote a record that decides.
	ErrNewerFormat = errors.New("procd/control: record written by a newer procd")
	// ErrTopicMissing says that a topic the job names does not exist.
	ErrTopicMissing = errors.New("procd/control: topic does not exist")
	// ErrFenced says that another process decides at this moment (P1).
	ErrFenced = errors.New("procd/control: another process took over deciding")
	// ErrTimeout says that the wait ended, not the work: ask again.
	ErrTimeout = errors.New("procd/control: timed out, still under way")
)

// Refused is the answer to a start, a stop or a reset that would lose or mix
// state or offsets. The command line exits with 3.
type Refused struct {
	Reason string // what does not fit, with names and numbers
	Hint   string // the next command, or what to mend; may be empty
	// Verdict, if the savepoint was refused, says why line by line.
	Verdict *savepoint.Verdict
}

// Error is the reason and the hint.
func (r *Refused) Error() string {
	if r.Hint == "" {
		return r.Reason
	}
	return r.Reason + "; " + r.Hint
}
