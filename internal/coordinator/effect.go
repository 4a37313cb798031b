package coordinator

import (
	"fmt"
	"strings"
	"time"

	"github.com/procd/procd/internal/control"
)

// Event is all that a step of the machine sees.
type Event struct {
	Now  time.Time
	View *control.View // the newest; never nil
	// Done is the outcome of an effect, nil for news of the view or the clock.
	Done Outcome
}

// Effect is something that the machine wants done, aside and in any order. Its
// outcome comes back as [Event.Done].
type Effect interface{ fmt.Stringer }

// Outcome is what became of an effect.
type Outcome interface{ of() key }

// key names the attempt that an effect and its outcome belong to: an outcome of
// another attempt than the current one means nothing any more.
type key struct {
	request string
	attempt int
}

func (k key) of() key { return k }

func (k key) String() string { return fmt.Sprintf("%s#%d", k.request, k.attempt) }

type (
	// Claim begins an attempt, as the decider. Outcome: Claimed.
	Claim struct {
		key
		Record control.Attempt
	}
	// Claimed: Err is control.ErrOvertaken, or to be tried again.
	Claimed struct {
		key
		Err error
	}

	// Begin discards what earlier attempts left at the location, so that none
	// of them can complete any more, and looks for a complete savepoint (P14).
	// If there is none and Make, it makes the attempt's directory with a token
	// (P13). Outcome: Begun.
	Begin struct {
		key
		Make bool
	}
	// Begun: Complete is not nil where the savepoint is complete already.
	Begun struct {
		key
		Token    string
		Complete *Complete
		Err      error
	}

	// Say writes a record of the attempt. Outcome: Said.
	Say struct {
		key
		Record control.Attempt
	}
	// Said is the outcome of Say.
	Said struct {
		key
		Err error
	}

	// Measure reads the ends of repartition topics, as high watermarks (P12).
	// Outcome: Measured.
	Measure struct {
		key
		Topics []string
	}
	// Measured has one offset for each partition of the topics.
	Measured struct {
		key
		Ends control.Offsets
		Err  error
	}

	// Publish collects what the tasks have delivered, makes sure that it is of
	// one cut, and writes the manifest. Outcome: Published.
	Publish struct {
		key
		Request control.Request
		Tasks   []control.TaskReport // every task of the plan, in its order
		Ends    control.Offsets      // of the repartition topics (P12)
	}
	// Published: there is a savepoint, or Err and none.
	Published struct {
		key
		Complete Complete
		Err      error
	}

	// Answer writes the result, as the decider, and with Stopped the end of
	// the run. Outcome: Answered.
	Answer struct {
		key
		Result      control.Result
		Coordinator string
	}
	// Answered: Err is control.ErrOvertaken, or to be tried again.
	Answered struct {
		key
		Err error
	}

	// Ask asks for a savepoint on the job's own account. Outcome: Asked.
	Ask struct{}
	// Asked is the outcome of Ask.
	Asked struct {
		key
		Err error
	}

	// Prune removes savepoints that the job asked for by itself, with their
	// results. Outcome: Pruned.
	Prune struct{ IDs []string }
	// Pruned is the outcome of Prune.
	Pruned struct {
		key
		Err error
	}
)

// Complete describes a savepoint that has its manifest.
type Complete struct {
	SHA256 string // of the manifest
	Bytes  int64
	Rows   int64
	AtMost bool // Rows is an upper bound
}

// String shows the effect in scenarios and logs.
func (e Claim) String() string {
	s := fmt.Sprintf("claim %s %s", e.key, e.Record.Phase)
	if e.Record.Reason != "" {
		s += ": " + e.Record.Reason
	}
	return s
}

// String shows the effect in scenarios and logs.
func (e Begin) String() string {
	if !e.Make {
		return "discard " + e.key.String()
	}
	return "begin " + e.key.String()
}

// String shows the effect in scenarios and logs.
func (e Say) String() string {
	s := fmt.Sprintf("say %s %s", e.key, e.Record.Phase)
	if e.Record.Phase == control.PhaseCut {
		s += " " + strings.Join(e.Record.Stages, " ")
	}
	if len(e.Record.Ends) > 0 {
		s += fmt.Sprintf(" ends=%v", e.Record.Ends)
	}
	if e.Record.Hold {
		s += " hold"
	}
	return s
}

// String shows the effect in scenarios and logs.
func (e Measure) String() string {
	return fmt.Sprintf("measure %s %s", e.key, strings.Join(e.Topics, " "))
}

// String shows the effect in scenarios and logs.
func (e Publish) String() string { return fmt.Sprintf("publish %s, %d tasks", e.key, len(e.Tasks)) }

// String shows the effect in scenarios and logs.
func (e Answer) String() string {
	words := []string{"answer", e.key.String()}
	if e.Result.Saved {
		words = append(words, "SAVED")
	}
	if e.Result.Stopped {
		words = append(words, "STOPPED")
	}
	if !e.Result.Saved {
		words = append(words, "FAILED")
	}
	s := strings.Join(words, " ")
	if e.Result.Reason != "" {
		s += ": " + e.Result.Reason
	}
	return s
}

// String shows the effect in scenarios and logs.
func (Ask) String() string { return "ask" }

// String shows the effect in scenarios and logs.
func (e Prune) String() string { return "prune " + strings.Join(e.IDs, " ") }
