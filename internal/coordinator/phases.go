package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/procd/procd/internal/control"
)

// watch looks at the reports of the attempt; true if that led anywhere.
func (m *Machine) watch() bool {
	j := m.job
	reports := m.view.Reports(j.request.ID, j.attempt)
	m.noteNews(reports)
	if j.stage == mustering {
		return m.muster(reports)
	}
	if j.stage == waiting {
		if !m.late() {
			return false
		}
		known, _ := m.view.Attempt()
		j.attempt, j.failed = max(j.attempt, known.Attempt), max(j.failed, known.Failed)
		m.claim()
		return true
	}
	if problem, failed := j.roster.check(reports); problem != "" {
		return m.disturbed(problem, failed)
	}
	tasks := j.roster.tasks(m.layout, reports)
	switch j.stage {
	case preparing:
		return m.prepare(reports, tasks)
	case cutting:
		return m.cut(tasks)
	case copying:
		return m.copy(tasks)
	}
	return m.timedOut("the savepoint location did not take the manifest in time")
}

// noteNews remembers when the reports last said something new. In a cut they
// do not count: work stands still.
func (m *Machine) noteNews(reports []control.Report) {
	var b strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&b, "%s %s %d", r.Worker, r.Session, r.Bytes)
		for _, t := range r.Tasks {
			fmt.Fprintf(&b, " %s", t.Step)
		}
		b.WriteByte('\n')
	}
	if known, ok := m.view.Attempt(); ok && m.job.stage == waiting {
		fmt.Fprintf(&b, "%d %d", known.Attempt, known.Step)
	}
	if b.String() != m.job.news {
		m.job.news = b.String()
		if m.job.stage != cutting {
			m.job.since = m.now
		}
	}
}

// late says that the stage has been without news for too long.
func (m *Machine) late() bool { return m.now.Sub(m.job.since) >= m.limit() }

// timedOut gives up what took too long.
func (m *Machine) timedOut(what string) bool {
	if !m.late() {
		return false
	}
	m.fail(fmt.Sprintf("%s (waited %v)", what, m.limit()))
	return true
}

// disturbed handles a rebalance or an error after the muster. Once everything
// is copied it cannot harm the savepoint; but of a stop nobody knows any more
// whether the job stands at it (P11).
func (m *Machine) disturbed(problem string, failed bool) bool {
	switch {
	case m.job.stage == publishing:
		m.job.broken = problem
		return false
	case failed:
		m.fail(problem)
	default:
		m.interrupt(problem)
	}
	return true
}

func (m *Machine) muster(reports []control.Report) bool {
	for _, r := range reports {
		if r.Err != "" {
			m.fail(fmt.Sprintf("worker %s: %s", r.Worker, r.Err))
			return true
		}
	}
	found, missing := muster(m.layout, reports)
	if missing != "" {
		return m.timedOut(missing)
	}
	if !m.job.begun {
		return m.timedOut("the savepoint location did not answer in time")
	}
	m.job.roster = found
	m.enter(preparing)
	m.say(control.PhasePrepare, false)
	return true
}

func (m *Machine) beginDone(o Begun) {
	j := m.job
	switch {
	case o.Complete != nil:
		m.found(*o.Complete)
	case o.Err != nil && j.stage == closing:
		m.answer(control.Result{Reason: fmt.Sprintf("%s; the savepoint location cannot be cleaned up: %v", j.reason, o.Err)})
	case o.Err != nil:
		m.fail(o.Err.Error())
	case j.stage == closing:
		m.answer(control.Result{Reason: j.reason})
	default:
		j.begun, j.token, j.since = true, o.Token, m.now
	}
}

// found takes the manifest of an earlier attempt, whose coordinator did not get
// to telling it. Its workers have gone on meanwhile, so it stops nothing.
func (m *Machine) found(c Complete) {
	r := control.Result{Saved: true, SHA256: c.SHA256, Bytes: c.Bytes, Rows: c.Rows, RowsAtMost: c.AtMost}
	if m.job.request.Stop {
		r.Reason = "complete, but not in time for the stop: " + m.job.reason + "; the job goes on"
	}
	m.answer(r)
}

func (m *Machine) prepare(reports []control.Report, tasks []control.TaskReport) bool {
	if worker := m.job.roster.absent(reports); worker != "" {
		return m.timedOut(fmt.Sprintf("worker %s, which has no tasks, did not look at the savepoint location in time", worker))
	}
	if t, waits := behind(tasks, m.layout.upTo(len(m.layout.waves)), control.TaskPrepared); waits {
		return m.timedOut(fmt.Sprintf("task %s was not copied in time", t))
	}
	m.enter(cutting)
	m.say(control.PhaseCut, m.holds())
	return true
}

// holds says whether a task that is cut has to stand still: always in a stop
// (P11), and where others are cut after it (P12).
func (m *Machine) holds() bool { return m.job.request.Stop || len(m.layout.waves) > 1 }

func (m *Machine) cut(tasks []control.TaskReport) bool {
	j := m.job
	told := m.layout.upTo(j.wave + 1)
	if t, waits := behind(tasks, told, control.TaskQuiet); waits {
		return m.timedOut(fmt.Sprintf("task %s did not come to rest in time", t))
	}
	if next := j.wave + 1; next < len(m.layout.waves) {
		if j.asked < next {
			j.asked = next
			m.emit(Measure{j.key, m.layout.reads(next)})
		}
		return m.timedOut("the ends of the repartition topics could not be read in time")
	}
	if t, waits := behind(tasks, told, control.TaskCut); waits {
		return m.timedOut(fmt.Sprintf("task %s was not checkpointed in time", t))
	}
	m.enter(copying)
	if m.holds() && !j.request.Stop {
		m.say(control.PhaseRelease, false)
	}
	return true
}

func (m *Machine) measured(o Measured) {
	j := m.job
	if j.stage != cutting || j.asked != j.wave+1 {
		return
	}
	if o.Err != nil {
		m.fail(o.Err.Error())
		return
	}
	ends := make(control.Offsets, len(j.ends)+len(o.Ends))
	for _, part := range []control.Offsets{j.ends, o.Ends} {
		for topic, offsets := range part {
			ends[topic] = offsets
		}
	}
	j.ends = ends
	j.wave++
	m.say(control.PhaseCut, true)
}

func (m *Machine) copy(tasks []control.TaskReport) bool {
	j := m.job
	if t, waits := behind(tasks, m.layout.upTo(len(m.layout.waves)), control.TaskCopied); waits {
		return m.timedOut(fmt.Sprintf("task %s was not copied in time", t))
	}
	m.enter(publishing)
	m.emit(Publish{j.key, j.request, tasks, j.ends})
	return true
}

func (m *Machine) published(o Published) {
	if o.Err != nil {
		m.fail(o.Err.Error())
		return
	}
	// What the view says by now counts too, or a stop could be written that a
	// worker has taken back already (P11).
	if problem, _ := m.job.roster.check(m.view.Reports(m.job.request.ID, m.job.attempt)); problem != "" {
		m.job.broken = problem
	}
	r := control.Result{Saved: true, SHA256: o.Complete.SHA256, Bytes: o.Complete.Bytes, Rows: o.Complete.Rows, RowsAtMost: o.Complete.AtMost}
	switch {
	case m.job.request.Stop && m.job.broken != "":
		r.Reason = m.job.broken + "; the job goes on"
	case m.job.request.Stop:
		r.Stopped = true
	}
	m.answer(r)
}

// answer writes the result of the request.
func (m *Machine) answer(r control.Result) {
	j := m.job
	r.Request = j.request
	if r.Attempts = j.attempt; j.over() {
		r.Attempts = min(j.attempt-1, MaxAttempts)
	}
	r.Location = m.cfg.Location
	r.Started = j.started
	for _, report := range m.view.Reports(j.request.ID, j.attempt) {
		r.PauseMillis = max(r.PauseMillis, report.PauseMillis)
	}
	m.enter(answering)
	r.PhaseMillis = j.took
	j.result = r
	m.emit(Answer{j.key, r, m.cfg.Coordinator})
}

func (m *Machine) answered(o Answered) {
	switch {
	case m.job.stage != answering:
	case errors.Is(o.Err, control.ErrOvertaken):
		m.wait()
	case o.Err != nil:
		m.retry()
	}
	// The request is over once the view says so: until then it would look like
	// one that has to be taken up.
}

// scheduled are the results of requests that the job made by itself, the
// newest first.
func scheduled(v *control.View) []control.Result {
	all := slices.DeleteFunc(v.Results(), func(r control.Result) bool { return !r.Scheduled })
	slices.Reverse(all)
	return all
}
