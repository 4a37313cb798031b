package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/internal/coordinator"
	"github.com/procd/procd/savepoint"
)

// asking is how a savepoint is asked for.
type asking struct {
	stop bool
	wait bool
	id   string
}

// savepoint takes a savepoint of a running job.
func (a *app) savepoint() *cobra.Command {
	return a.takes("savepoint", "Take a savepoint of a running job, which goes on", false)
}

// savepointAndStop takes a savepoint and stops the job exactly there.
func (a *app) savepointAndStop() *cobra.Command {
	return a.takes("savepoint-and-stop", "Take a savepoint of a running job and stop it there, atomically", true)
}

func (a *app) takes(name, short string, stop bool) *cobra.Command {
	ask := asking{stop: stop}
	cmd := &cobra.Command{
		Use:   name + a.jobArgument(),
		Short: short,
		Args:  a.fileArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ask.id != "" && !savepoint.IsID(ask.id) {
				return usageError("--id %q: an id looks like 20261122T101530Z-3f9c", ask.id)
			}
			return a.withPlane(cmd, args, func(ctx context.Context, p *control.Plane, job string, _ settings) error {
				return a.take(ctx, p, job, ask)
			})
		},
	}
	cmd.Flags().BoolVar(&ask.wait, "wait", true, "wait for the result; without, only ask for it")
	cmd.Flags().StringVar(&ask.id, "id", "", "the savepoint's id; with one that was asked for already, wait for its result")
	return cmd
}

func newSavepointID() string {
	var random [2]byte
	rand.Read(random[:]) // never fails, says its documentation
	return savepoint.NewID(time.Now(), random)
}

// takenOutput is what savepoint and savepoint-and-stop print with --json.
type takenOutput struct {
	FormatVersion int    `json:"format_version"`
	Job           string `json:"job"`
	coordinator.Taken
}

func (a *app) take(ctx context.Context, p *control.Plane, job string, ask asking) error {
	if ask.id == "" {
		ask.id = newSavepointID()
	}
	if !ask.wait {
		return a.request(ctx, p, job, ask)
	}
	show := a.newProgress("savepoint " + ask.id)
	taken, err := coordinator.Take(ctx, p, ask.id, ask.stop, func(now coordinator.Progress) {
		show.set(phaseText(now), now.Bytes, now.Total)
	})
	show.end()
	var printed error
	if taken.Saved || err == nil {
		printed = a.print(takenOutput{formatVersion, job, taken}, func(w io.Writer) { printTaken(w, job, taken) })
	}
	if errors.Is(err, control.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		err = &failure{code: TimedOut, err: stillUnderWay(taken, job), hint: "wait on with: " + again(job, ask)}
	}
	return errors.Join(err, printed, tookNothing(taken, err))
}

func stillUnderWay(taken coordinator.Taken, job string) error {
	if taken.Stopped {
		return fmt.Errorf("savepoint %s is complete and %s is stopped, but its processes have not left yet", taken.ID, job)
	}
	return fmt.Errorf("savepoint %s of %s is still under way there", taken.ID, job)
}

// again is the command that asks for the same savepoint again.
func again(job string, ask asking) string {
	command := "savepoint"
	if ask.stop {
		command = "savepoint-and-stop"
	}
	return fmt.Sprintf("procd %s %s --id %s", command, job, ask.id)
}

// tookNothing says what is missing of what was asked for.
func tookNothing(taken coordinator.Taken, err error) error {
	switch {
	case err != nil:
		return nil
	case !taken.Saved:
		return fmt.Errorf("savepoint %s failed after %s, and the job goes on: %s", taken.ID, plural(taken.Attempts, "attempt"), taken.Reason)
	case taken.Stop && !taken.Stopped:
		return &failure{
			code: Failed,
			err:  fmt.Errorf("savepoint %s is complete, but the job was not stopped at it and goes on: %s", taken.ID, taken.Reason),
			hint: "ask for another one",
		}
	}
	return nil
}

func (a *app) request(ctx context.Context, p *control.Plane, job string, ask asking) error {
	request, err := p.Request(ctx, ask.id, ask.stop)
	if err != nil {
		return err
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		Job           string `json:"job"`
		control.Request
	}{formatVersion, job, request}
	return a.print(output, func(w io.Writer) {
		fmt.Fprintf(w, "ASKED %s; its result: %s\n", request.ID, again(job, ask))
	})
}

func printTaken(w io.Writer, job string, t coordinator.Taken) {
	if !t.Saved {
		return
	}
	fmt.Fprintf(w, "SAVED %s (%s, %s, in %s, longest pause %s) %s/%s\n", t.ID, rowsText(t.Rows, t.RowsAtMost), byteText(t.Bytes),
		t.Finished.Sub(t.Started).Round(time.Millisecond), time.Duration(t.PauseMillis)*time.Millisecond, t.Location, t.ID)
	if t.Stopped {
		fmt.Fprintf(w, "STOPPED %s at %s: generation %d, run %d; go on with procd start --savepoint %s\n", job, t.ID, t.Generation, t.Run, t.ID)
	}
	for _, member := range t.Removed {
		fmt.Fprintf(w, "removed %s, which did not leave by itself\n", member)
	}
}

// phaseText says how far a savepoint is.
func phaseText(now coordinator.Progress) string {
	if now.Attempt == 0 {
		return "waiting for the job to take it up"
	}
	text := string(now.Phase)
	if now.All > 0 {
		text += fmt.Sprintf(", %d of %d tasks copied", now.Tasks, now.All)
	}
	if now.Reason != "" {
		text = fmt.Sprintf("attempt %d (%s): %s", now.Attempt, now.Reason, text)
	}
	return text
}
