package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
)

// status shows one job.
func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status" + a.jobArgument(),
		Short: "Show a job: processes, tasks, positions, lag, and transactions in the way",
		Args:  a.fileArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPlane(cmd, args, func(ctx context.Context, p *control.Plane, _ string, _ settings) error {
				status, err := p.Status(ctx)
				if err != nil {
					return err
				}
				output := struct {
					FormatVersion int `json:"format_version"`
					control.Status
				}{formatVersion, status}
				return a.print(output, func(w io.Writer) { printStatus(w, &status) })
			})
		},
	}
}

func printStatus(w io.Writer, s *control.Status) {
	fmt.Fprintf(w, "%s is %s since %s, by %s: generation %d, revision %d, run %d\n", s.Job, s.State.State,
		s.State.At.Format(time.RFC3339), s.State.By, s.Generation, s.Revision, s.State.Run)
	fmt.Fprintf(w, "lag %d, %s in the group\n", s.Lag, plural(len(s.Members), "member"))
	if s.Savepoint != "" {
		uses := "still reads state"
		if s.Detached {
			uses = "is detached"
		}
		fmt.Fprintf(w, "began with savepoint %s%s, and %s from it\n", s.Savepoint, givenUp(s.Dropped, s.AcceptedGap), uses)
	}
	if s.Problem != "" {
		fmt.Fprintf(w, "problem: %s\n", s.Problem)
	}
	if len(s.Processes) > 0 {
		fmt.Fprintln(w)
		printProcesses(w, s.Processes)
	}
	if len(s.Inputs) > 0 {
		fmt.Fprintln(w)
		printInputs(w, s)
	}
	printBlockers(w, s.Inputs)
}

func printProcesses(w io.Writer, processes []control.ProcessStatus) {
	t := newTable(w)
	t.row("PROCESS", "HOST", "PID", "ADMIN", "TASKS", "SAID SO")
	for _, p := range processes {
		age := time.Duration(p.AgeSeconds * float64(time.Second)).Round(time.Second)
		t.row(p.Seat, p.Host, p.PID, orDash(p.Admin), countTasks(p.Tasks), age.String()+" ago")
	}
	t.end()
	printMemory(w, processes)
}

// printMemory says how the processes divide their memory: in one line for all
// that do it alike.
func printMemory(w io.Writer, processes []control.ProcessStatus) {
	var found []control.Memory
	who := map[control.Memory][]string{}
	for _, p := range processes {
		if p.Memory == nil {
			continue
		}
		if who[*p.Memory] == nil {
			found = append(found, *p.Memory)
		}
		who[*p.Memory] = append(who[*p.Memory], p.Seat)
	}
	mib := func(n int64) int64 { return n >> 20 }
	for _, m := range found {
		fmt.Fprintf(w, "memory of %s: %d MiB = block cache %d, write-back %d, fetch %d, produce %d, rest %d\n",
			strings.Join(who[m], ", "), mib(m.Total), mib(m.BlockCache), mib(m.WriteBack), mib(m.Fetch), mib(m.Produce), mib(m.Rest))
	}
}

// countTasks is "3 running, 1 restoring".
func countTasks(tasks []control.TaskState) string {
	var states []string
	count := map[string]int{}
	for _, t := range tasks {
		if count[t.State] == 0 {
			states = append(states, t.State)
		}
		count[t.State]++
	}
	for i, state := range states {
		states[i] = fmt.Sprintf("%d %s", count[state], state)
	}
	return orDash(strings.Join(states, ", "))
}

// owned is what a process said of a task.
type owned struct {
	process string
	task    control.TaskState
}

// owners finds the process of each task; where two say that they have it, the
// one that said so last.
func owners(processes []control.ProcessStatus) map[string]owned {
	found := map[string]owned{}
	age := map[string]float64{}
	for _, p := range processes {
		for _, t := range p.Tasks {
			name := taskName(t.Stage, t.Partition)
			if _, ok := found[name]; !ok || p.AgeSeconds < age[name] {
				found[name], age[name] = owned{p.Seat, t}, p.AgeSeconds
			}
		}
	}
	return found
}

func taskName(stage string, partition int32) string { return fmt.Sprintf("%s/%d", stage, partition) }

func printInputs(w io.Writer, s *control.Status) {
	byTask := owners(s.Processes)
	t := newTable(w)
	t.row("TASK", "TOPIC", "POSITION", "END", "LAG", "STATE", "PROCESS")
	for _, in := range s.Inputs {
		name := taskName(in.Stage, in.Partition)
		o := byTask[name]
		state := orDash(o.task.State)
		if o.task.RestoreRemaining > 0 {
			state += fmt.Sprintf(" (%d left)", o.task.RestoreRemaining)
		}
		if o.task.Base == "attached" {
			state += ", needs the savepoint"
		}
		t.row(name, in.Topic, in.Position, in.End, in.Lag, state, orDash(o.process))
	}
	t.end()
}

// printBlockers names who holds the readers of committed records back (T5).
func printBlockers(w io.Writer, inputs []control.PartitionStatus) {
	for _, in := range inputs {
		for _, b := range in.Blockers {
			who := fmt.Sprintf("producer %d", b.ProducerID)
			if b.TransactionalID != "" {
				who = fmt.Sprintf("transactional id %s (producer %d)", b.TransactionalID, b.ProducerID)
			}
			fmt.Fprintf(w, "\n%s-%d cannot be read beyond offset %d: %s has a transaction open from offset %d, last written to at %s\n",
				in.Topic, in.Partition, in.Stable, who, b.Offset, b.LastWrite.Format(time.RFC3339))
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
