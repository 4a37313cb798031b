package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/topology"
)

// MaxFailures is how many attempts may fail by themselves before a savepoint has
// failed. One that a rebalance or the end of its coordinator broke off does not
// count, or a rolling restart of three processes would be enough to fail it; but
// whatever the reason is, there are [MaxAttempts] at most: a savepoint may be
// what makes the processes crash.
const (
	MaxFailures = 3
	MaxAttempts = 10
)

// Limits bound the phases of an attempt. A phase without news of any worker for
// that long has failed.
type Limits struct {
	// Muster is for tasks that are restored or on their way between workers.
	Muster time.Duration
	// Prepare is for the pre-copy; every byte copied is news.
	Prepare time.Duration
	// Cut is the only one that counts from the phase's start: how long work
	// may stand still for a savepoint that does not come about.
	Cut time.Duration
	// Copy is for what is left after the cut.
	Copy time.Duration
}

// DefaultLimits are those of a job.
var DefaultLimits = Limits{Muster: time.Minute, Prepare: 30 * time.Second, Cut: 15 * time.Second, Copy: 30 * time.Second}

// retryEvery is the pause after the broker refused a decision.
const retryEvery = time.Second

// Config is what a machine knows from the start.
type Config struct {
	// Coordinator is random, of this machine.
	Coordinator string
	Stages      []Stage
	// Location is the coordinator's name of the savepoint location.
	Location string
	Limits   Limits
	Schedule topology.Schedule
}

// Machine takes savepoints: see the package's rules. It does nothing by itself:
// no I/O, no clock, no goroutine.
type Machine struct {
	cfg    Config
	layout *layout
	now    time.Time
	view   *control.View
	out    []Effect

	job      *attempt // nil: nothing to do
	schedule schedule
}

// stage is where an attempt stands, as its coordinator sees it.
type stage int

const (
	claiming   stage = iota // the claim is being written
	mustering               // workers report, the directory is being made
	preparing               // pre-copy
	cutting                 // wave by wave
	copying                 // everything is cut
	publishing              // the manifest is being written
	closing                 // given up: nothing may complete any more
	answering               // the result is being written
	waiting                 // another coordinator is at it
)

// phaseNames are the stages that are measured.
var phaseNames = map[stage]string{
	mustering: "muster", preparing: "prepare", cutting: "cut", copying: "copy", publishing: "publish",
}

// attempt is the request at hand.
type attempt struct {
	key
	request control.Request
	stage   stage
	started time.Time // of the first attempt that this machine knows
	reason  string    // why the last attempt failed
	failed  int       // attempts that failed by themselves
	result  control.Result

	begun  bool
	token  string
	said   int // Step of the last record
	roster roster
	wave   int // the last one that was told to cut
	asked  int // the last one whose ends were asked for
	ends   control.Offsets
	broken string // why a stop cannot count any more

	entered time.Time        // when the stage began
	took    map[string]int64 // ms, by the names of the stages that are over
	since   time.Time        // of the stage, or of the last news
	news    string           // what the reports said then
	again   Effect           // to be tried again at
	againAt time.Time
}

// New makes a machine for the stages of a job.
func New(cfg Config) (*Machine, error) {
	l, err := newLayout(cfg.Stages)
	if err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg, layout: l}, nil
}

// Step takes what happened and returns what is to be done.
func (m *Machine) Step(e Event) []Effect {
	m.now, m.view, m.out = e.Now, e.View, nil
	if e.Done != nil {
		m.done(e.Done)
	}
	for m.advance() {
	}
	m.tend()
	return m.out
}

// Deadline is when the machine wants to be stepped without any news; zero if
// never.
func (m *Machine) Deadline() time.Time {
	at := m.schedule.due
	for _, t := range []time.Time{m.jobDeadline(), m.schedule.retry} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

func (m *Machine) jobDeadline() time.Time {
	switch {
	case m.job == nil:
		return time.Time{}
	case m.job.again != nil:
		return m.job.againAt
	}
	if limit := m.limit(); limit > 0 {
		return m.job.since.Add(limit)
	}
	return time.Time{}
}

func (m *Machine) limit() time.Duration {
	switch m.job.stage {
	case mustering:
		return m.cfg.Limits.Muster
	case preparing:
		return m.cfg.Limits.Prepare
	case cutting:
		return m.cfg.Limits.Cut
	case copying, publishing, closing:
		return m.cfg.Limits.Copy
	case waiting:
		return m.cfg.Limits.Muster + m.cfg.Limits.Cut
	}
	return 0
}

// done takes the outcome of an effect, unless its attempt is over.
func (m *Machine) done(o Outcome) {
	switch o := o.(type) {
	case Asked, Pruned:
		m.schedule.done(o, m.now)
		return
	}
	if m.job == nil || m.job.key != o.of() {
		return
	}
	switch o := o.(type) {
	case Claimed:
		m.claimed(o)
	case Begun:
		m.beginDone(o)
	case Said:
		if o.Err != nil && m.job.stage < publishing {
			m.fail(fmt.Sprintf("the control topic cannot be written: %v", o.Err))
		}
	case Measured:
		m.measured(o)
	case Published:
		m.published(o)
	case Answered:
		m.answered(o)
	}
}

// advance does the next thing that the view allows; false if there is none.
func (m *Machine) advance() bool {
	j := m.job
	if j == nil {
		return m.next()
	}
	if _, answered := m.view.Result(j.request.ID); answered || m.orphaned() {
		m.job = nil
		return true
	}
	if j.again != nil {
		if !m.now.Before(j.againAt) {
			m.emit(j.again)
			j.again = nil
		}
		return false
	}
	if m.overtaken() {
		m.wait()
		return true
	}
	switch j.stage {
	case mustering, preparing, cutting, copying, publishing, waiting:
		return m.watch()
	case closing:
		return m.closeLate()
	}
	return false
}

// closeLate tells the failure although the location does not answer: what may
// complete there after all has no SAVED record, and does not count.
func (m *Machine) closeLate() bool {
	if !m.late() {
		return false
	}
	m.answer(control.Result{Reason: m.job.reason + "; the savepoint location does not answer"})
	return true
}

// orphaned reports whether the run that was asked ended before the manifest was
// begun. The next run's coordinator answers.
func (m *Machine) orphaned() bool {
	state := m.view.State()
	return m.job.stage < publishing && (state.State != control.Running || state.Run != m.job.request.Run)
}

// next takes up the oldest request without a result.
func (m *Machine) next() bool {
	requests := m.view.Requests()
	if len(requests) == 0 {
		return false
	}
	state := m.view.State()
	r := requests[0]
	m.job = &attempt{request: r, key: key{request: r.ID}, started: m.now}
	if r.Run != state.Run {
		// Nobody may take it any more, but it may have come to a manifest (P6).
		m.job.reason = fmt.Sprintf("run %d, which was asked, is over", r.Run)
		m.close()
		return true
	}
	if state.State != control.Running {
		m.job = nil
		return false
	}
	if known, ok := m.view.Attempt(); ok && known.Request == r.ID {
		m.job.attempt, m.job.failed = known.Attempt, known.Failed
		m.job.reason = "the coordinator changed"
		if known.Phase == control.PhaseOver && known.Reason != "" {
			m.job.reason = known.Reason
		}
	}
	m.claim()
	return true
}

// claim begins the next attempt, or the end of the last.
func (m *Machine) claim() {
	j := m.job
	j.attempt++
	*j = attempt{request: j.request, key: j.key, started: j.started, reason: j.reason, failed: j.failed, stage: claiming}
	phase := control.PhaseMuster
	if j.over() {
		phase = control.PhaseOver
	}
	m.emit(Claim{j.key, control.Attempt{
		Request: j.request.ID, Attempt: j.attempt, Coordinator: m.cfg.Coordinator,
		Run: j.request.Run, Phase: phase, Stop: j.request.Stop, Reason: j.reason, Failed: j.failed,
	}})
}

// over says that the attempt at hand is none any more, but the end of the last.
func (j *attempt) over() bool { return j.failed >= MaxFailures || j.attempt > MaxAttempts }

func (m *Machine) claimed(o Claimed) {
	switch {
	case m.job.stage != claiming:
	case errors.Is(o.Err, control.ErrOvertaken):
		m.wait()
	case o.Err != nil:
		m.retry()
	case m.job.over():
		m.close()
	default:
		m.enter(mustering)
		m.emit(Begin{m.job.key, true})
	}
}

// close makes sure that nothing of the request can complete any more, before
// its failure is told.
func (m *Machine) close() {
	m.enter(closing)
	m.emit(Begin{m.job.key, false})
}

// fail gives the attempt up, for something that may be so again: the next claim
// tells the workers.
func (m *Machine) fail(reason string) {
	m.job.failed++
	m.interrupt(reason)
}

// interrupt gives the attempt up for nothing that is its fault.
func (m *Machine) interrupt(reason string) {
	m.job.reason = reason
	m.claim()
}

// overtaken reports whether the view shows a later claim than this machine's.
func (m *Machine) overtaken() bool {
	known, ok := m.view.Attempt()
	j := m.job
	return ok && j.stage != waiting && known.Request == j.request.ID &&
		(known.Attempt > j.attempt || known.Attempt == j.attempt && known.Coordinator != m.cfg.Coordinator)
}

// wait leaves the request to the coordinator that is further, for as long as
// there is news of it: two that both think that they own the first task must
// not use the attempts up against each other.
func (m *Machine) wait() {
	known, _ := m.view.Attempt()
	m.job.attempt = max(m.job.attempt, known.Attempt)
	m.job.failed = max(m.job.failed, known.Failed)
	m.job.again = nil
	m.job.reason = "the coordinator changed"
	m.enter(waiting)
}

func (m *Machine) enter(s stage) {
	j := m.job
	if name, ok := phaseNames[j.stage]; ok {
		if j.took == nil {
			j.took = make(map[string]int64)
		}
		j.took[name] = m.now.Sub(j.entered).Milliseconds()
	}
	j.stage, j.since, j.entered = s, m.now, m.now
}

// say writes the next record of the attempt.
func (m *Machine) say(phase control.Phase, hold bool) {
	j := m.job
	j.said++
	a := control.Attempt{
		Request: j.request.ID, Attempt: j.attempt, Coordinator: m.cfg.Coordinator, Step: j.said,
		Run: j.request.Run, Phase: phase, Stop: j.request.Stop, Hold: hold,
		Location: m.cfg.Location, Token: j.token, Failed: j.failed,
	}
	if phase == control.PhaseCut {
		a.Stages, a.Ends = m.layout.upTo(j.wave+1), j.ends
	}
	m.emit(Say{j.key, a})
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

// retry does the decision at hand again, after a pause.
func (m *Machine) retry() {
	j := m.job
	switch j.stage {
	case claiming:
		j.attempt--
		m.claim()
	case answering:
		m.answer(j.result)
	}
	last := len(m.out) - 1
	j.again, j.againAt = m.out[last], m.now.Add(retryEvery)
	m.out = slices.Delete(m.out, last, last+1)
}
