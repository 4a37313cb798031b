package coordinator

import (
	"slices"

	"github.com/procd/procd/internal/control"
)

// Command is what every worker of the job has to do now for a savepoint. It is
// a function of the control topic alone, so every worker sees the same one, and
// one that starts in the middle sees it too.
//
// A worker obeys the current Command and nothing else:
//
//  1. Another (Request, Attempt) than before, or none: drop what was done for
//     the earlier one, its checkpoints too, and let everything that stood still
//     go on.
//  2. In every phase: report all its tasks and their steps ([control.Report]),
//     again whenever a step, the session or an error is new, and about once a
//     second while it copies. In PhaseMuster a task that is restoring is
//     reported as opening, and again once it runs.
//  3. PhasePrepare: join the attempt's directory with Token (savepoint.Join), and
//     report that; so does a worker without tasks. Checkpoint and pre-copy every
//     task, report it as prepared.
//  4. PhaseCut: for each task whose stage [Command.Cuts]: process its inputs to
//     [Command.End] and no record beyond (sources, which have no end: nothing
//     more; transaction markers may follow the end), end the transaction, freeze timers and sweeps, report quiet; checkpoint, report
//     cut; copy, report copied, with the parts. With Hold the task does not go
//     on before a Command without Hold.
//  5. With Hold, inputs that are sources are paused in all stages, and a task
//     that is opened now, after a rebalance, does not start. That is what
//     makes a stop exact when a worker dies between the cut and STOPPED.
//  6. PhaseRelease: what stood still goes on. Copying continues.
type Command struct {
	Request string
	Attempt int
	Phase   control.Phase
	Stop    bool
	// Hold says that tasks stand still once they are cut, and tasks that are
	// opened do not start.
	Hold bool
	// Location is the coordinator's name of the savepoint location, for
	// messages: a worker uses its own, which must hold Token (P13).
	Location string
	Token    string

	stages []string
	ends   control.Offsets
}

// Cuts reports whether the tasks of a stage are to be cut now, or were.
func (c *Command) Cuts(stage string) bool {
	return c.Phase == control.PhaseRelease || slices.Contains(c.stages, stage)
}

// End is where a task has to stop in a repartition topic, by its name in Kafka:
// the offset of the first record that does not belong to the savepoint. It is
// false for a source.
func (c *Command) End(topic string, partition int32) (int64, bool) {
	return c.ends.At(topic, partition)
}

// Current is what the view says the workers have to do; false if nothing.
func Current(v *control.View) (Command, bool) {
	a, ok := v.Attempt()
	if !ok || a.Phase == control.PhaseOver {
		return Command{}, false
	}
	return Command{
		Request: a.Request, Attempt: a.Attempt, Phase: a.Phase, Stop: a.Stop, Hold: a.Hold,
		Location: a.Location, Token: a.Token, stages: a.Stages, ends: a.Ends,
	}, true
}
