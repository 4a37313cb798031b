package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/procd/procd/config"
	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/engine"
	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/topology"
)

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, Done},
		{errors.New("anything"), Failed},
		{&topology.BadRecord{Err: errors.New("no JSON")}, Failed},
		{seat.ErrNotWritable, Failed},
		{usageError("no"), Usage},
		{config.Errors{{Msg: "unknown key"}}, Usage},
		{&config.Error{Msg: "there is no such file"}, Usage},
		{cluster.ErrConfig, Usage},
		{&control.Refused{Reason: "stopped"}, Refused},
		{control.ErrSuperseded, Refused},
		{&engine.OffsetsError{}, Refused},
		{&engine.PartitionError{Err: errors.New("out of range")}, Refused},
		{&topology.Refused{}, Refused},
		{seat.ErrNewerFormat, Refused},
		{cluster.ErrOldTransactions, Refused},
		{control.ErrNoJob, NotFound},
		{control.ErrTopicMissing, NotFound},
		{cluster.ErrUnreachable, NotFound},
		{control.ErrTimeout, TimedOut},
		{context.DeadlineExceeded, TimedOut},
		// What a command says itself counts before what it is about.
		{&failure{code: Failed, err: context.DeadlineExceeded}, Failed},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
		if test.err == nil {
			continue
		}
		if got := exitCode(fmt.Errorf("starting: %w", test.err)); got != test.want {
			t.Errorf("wrapped %v: %d, want %d", test.err, got, test.want)
		}
	}
}

func TestReport(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("starting: %w: x", control.ErrNoJob), "procd: starting: no such job: x\n"},
		{&failure{err: errors.New("it is there"), hint: "remove it"}, "procd: it is there; remove it\n"},
		{
			&engine.PartitionError{Topic: "in", Partition: 2, Err: errors.New("gone"), Advice: "procd reset"},
			"procd: topic in partition 2: gone; procd reset\n",
		},
		{
			config.Errors{{File: "a.yaml", Line: 2, Column: 3, Msg: "one"}, {File: "a.yaml", Line: 4, Column: 5, Msg: "two"}},
			"a.yaml:2:3: one\na.yaml:4:5: two\nprocd: a.yaml is not valid: 2 mistakes\n",
		},
	} {
		var out bytes.Buffer
		if report(&out, test.err); out.String() != test.want {
			t.Errorf("%q, want %q", out.String(), test.want)
		}
	}
}

func TestPlural(t *testing.T) {
	for want, got := range map[string]string{
		"1 task": plural(1, "task"), "0 tasks": plural(0, "task"), "2 processes": plural(2, "process"), "2 stages": plural(2, "stage"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
