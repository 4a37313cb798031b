package coordinator

import (
	"time"

	"github.com/procd/procd/internal/control"
)

// schedule is what the machine remembers of it.
type schedule struct {
	due   time.Time // of the next savepoint; zero: none
	asked time.Time // when the last one was asked for: the view may not show it yet
	busy  bool      // an Ask or a Prune is under way
	retry time.Time // after one failed
}

func (s *schedule) done(o Outcome, now time.Time) {
	s.busy = false
	var err error
	switch o := o.(type) {
	case Asked:
		if err = o.Err; err == nil {
			s.asked = now
		}
	case Pruned:
		err = o.Err
	}
	s.retry = time.Time{}
	if err != nil {
		s.retry = now.Add(time.Minute)
	}
}

// tend asks for a savepoint when it is time, and prunes what the schedule does
// not keep. It waits until no request is at hand.
func (m *Machine) tend() {
	s := &m.schedule
	s.due = time.Time{}
	if !m.now.Before(s.retry) {
		s.retry = time.Time{}
	}
	state := m.view.State()
	if s.busy || m.job != nil || m.cfg.Schedule.Every == 0 || state.State != control.Running || !s.retry.IsZero() {
		return
	}
	if ids := m.surplus(); len(ids) > 0 {
		s.busy = true
		m.emit(Prune{ids})
		return
	}
	last := state.At // of the start of the run
	if s.asked.After(last) {
		last = s.asked
	}
	if mine := scheduled(m.view); len(mine) > 0 && mine[0].At.After(last) {
		last = mine[0].At
	}
	if s.due = last.Add(m.cfg.Schedule.Every); m.now.Before(s.due) {
		return
	}
	s.due, s.busy = time.Time{}, true
	m.emit(Ask{})
}

// surplus are the scheduled savepoints beyond those to keep, and what failed
// before the oldest that is kept. One that is in use stays.
func (m *Machine) surplus() []string {
	if m.cfg.Schedule.Keep == 0 {
		return nil
	}
	var ids []string
	kept := 0
	for _, r := range scheduled(m.view) {
		if kept < m.cfg.Schedule.Keep {
			if r.Saved {
				kept++
			}
			continue
		}
		if _, used := m.view.InUse(r.ID); !used {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
