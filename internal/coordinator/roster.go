package coordinator

import (
	"fmt"
	"slices"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// roster is who takes part in an attempt, fixed when it has been mustered: from
// then on a worker in another session, with other tasks, or a new one with
// tasks, means that the group was rebalanced, and ends the attempt.
type roster map[string]enlisted

type enlisted struct {
	session string
	idle    bool          // it said that it has no tasks
	tasks   map[task]bool // nil: it has nothing that counts
}

// muster finds out who has which task. The newest report that names a task is
// believed, since a worker that died does not take its reports back. It is
// complete when each task of the job runs at a worker none of whose tasks are
// in doubt; otherwise missing says what is waited for.
func muster(l *layout, reports []control.Report) (r roster, missing string) {
	owner := make(map[task]string)
	step := make(map[task]control.TaskStep)
	for _, report := range reports { // the oldest first
		for _, t := range report.Tasks {
			at := task{t.Stage, t.Partition}
			owner[at], step[at] = report.Worker, t.Step
		}
	}
	for _, t := range l.tasks {
		switch {
		case owner[t] == "":
			return nil, fmt.Sprintf("no worker has said that it has task %s", t)
		case !step[t].Reached(control.TaskRunning):
			return nil, fmt.Sprintf("task %s does not run yet: worker %s is restoring it", t, owner[t])
		}
	}
	r = make(roster, len(reports))
	for _, report := range reports {
		e, err := enlist(report, owner)
		if err != "" {
			return nil, err
		}
		r[report.Worker] = e
	}
	return r, ""
}

// enlist takes a worker that owns all that it says, or nothing of it.
func enlist(report control.Report, owner map[task]string) (e enlisted, missing string) {
	e.session, e.idle = report.Session, len(report.Tasks) == 0
	lost := task{}
	for _, t := range report.Tasks {
		at := task{t.Stage, t.Partition}
		if owner[at] != report.Worker {
			lost = at
			continue
		}
		if e.tasks == nil {
			e.tasks = make(map[task]bool)
		}
		e.tasks[at] = true
	}
	if e.tasks != nil && lost != (task{}) {
		return e, fmt.Sprintf("worker %s and worker %s both say that they have task %s", report.Worker, owner[lost], lost)
	}
	return e, ""
}

// check says what the reports have against going on, "" if nothing, and whether
// it is a failure: a rebalance is none.
func (r roster) check(reports []control.Report) (problem string, failed bool) {
	for _, report := range reports {
		if report.Err != "" {
			return fmt.Sprintf("worker %s: %s", report.Worker, report.Err), true
		}
	}
	for _, report := range reports {
		if what := r.moved(report); what != "" {
			return fmt.Sprintf("the group was rebalanced: worker %s %s", report.Worker, what), false
		}
	}
	return "", false
}

// moved says what is not as it was mustered; "" if nothing.
func (r roster) moved(report control.Report) string {
	had, known := r[report.Worker]
	if had.tasks == nil {
		if len(report.Tasks) > 0 && (!known || had.session != report.Session) {
			return "has tasks now"
		}
		return ""
	}
	if had.session != report.Session || len(report.Tasks) != len(had.tasks) {
		return "joined again, or has other tasks"
	}
	seen := make(map[task]bool, len(report.Tasks))
	for _, t := range report.Tasks {
		at := task{t.Stage, t.Partition}
		if !had.tasks[at] || seen[at] {
			return fmt.Sprintf("has task %s now", at)
		}
		seen[at] = true
	}
	return ""
}

// absent is a worker without tasks that has not looked for the token yet, "" if
// there is none. Those with tasks cannot prepare them without it.
func (r roster) absent(reports []control.Report) (worker string) {
	for _, report := range reports {
		if r[report.Worker].idle && !report.Joined {
			return report.Worker
		}
	}
	return ""
}

// tasks are the reports of the roster's tasks, in the order of the plan.
func (r roster) tasks(l *layout, reports []control.Report) []control.TaskReport {
	found := make(map[task]control.TaskReport, len(l.tasks))
	for _, report := range reports {
		if r[report.Worker].tasks == nil {
			continue
		}
		for _, t := range report.Tasks {
			found[task{t.Stage, t.Partition}] = t
		}
	}
	all := make([]control.TaskReport, 0, len(l.tasks))
	for _, t := range l.tasks {
		report, ok := found[t]
		if !ok {
			report = control.TaskReport{Stage: t.stage, Partition: t.partition, Step: control.TaskRunning}
		}
		all = append(all, report)
	}
	return all
}

// behind is the first task of the stages that has not reached a step.
func behind(tasks []control.TaskReport, stages []string, step control.TaskStep) (task, bool) {
	for _, t := range tasks {
		if slices.Contains(stages, t.Stage) && !t.Step.Reached(step) {
			return task{t.Stage, t.Partition}, true
		}
	}
	return task{}, false
}

// fits says what keeps the reports of all tasks from being a savepoint: stores
// that are missing or of another point than their task (P14), inputs that were
// not drained (P12). "" if nothing.
func fits(l *layout, tasks []control.TaskReport, ends control.Offsets) string {
	for _, t := range tasks {
		at := task{t.Stage, t.Partition}
		if problem := fitsParts(l.stages[t.Stage].Stores, t); problem != "" {
			return fmt.Sprintf("task %s: %s", at, problem)
		}
		for _, topic := range l.stages[t.Stage].Reads {
			end, known := ends.At(topic, t.Partition)
			if next, ok := offset(t, topic); !known || !ok || next < end {
				return fmt.Sprintf("task %s was cut at offset %d of %s, before its end %d", at, next, topic, end)
			}
		}
	}
	return ""
}

func fitsParts(stores []string, t control.TaskReport) string {
	if len(t.Parts) != len(stores) {
		return fmt.Sprintf("%d stores were copied, it has %d", len(t.Parts), len(stores))
	}
	for _, uid := range stores {
		i := slices.IndexFunc(t.Parts, func(p savepoint.Part) bool { return p.UID == uid })
		if i < 0 || t.Parts[i].Partition != t.Partition {
			return fmt.Sprintf("store %s was not copied", uid)
		}
		if !sameOffsets(t.Parts[i], t) {
			return fmt.Sprintf("store %s was checkpointed at another point than its task was cut", uid)
		}
	}
	return ""
}

// sameOffsets compares the position in a checkpoint with the cut.
func sameOffsets(p savepoint.Part, t control.TaskReport) bool {
	if len(p.Sources) != len(t.Sources) {
		return false
	}
	for _, s := range p.Sources {
		if !slices.Contains(t.Sources, s) {
			return false
		}
	}
	return true
}

func offset(t control.TaskReport, topic string) (next int64, ok bool) {
	for _, s := range t.Sources {
		if s.Topic == topic && s.Partition == t.Partition {
			return s.Offset, true
		}
	}
	return 0, false
}
