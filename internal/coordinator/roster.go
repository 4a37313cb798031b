package coordinator

import (
	"fmt"
	"slices"

	"github.com/procd/procd/internal/control"
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
