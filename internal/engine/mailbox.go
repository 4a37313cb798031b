package engine

import (
	"context"
	"maps"
	"sync"
	"time"
)

// mailbox holds what kgo's goroutine tells the worker.
type mailbox struct {
	mu         sync.Mutex
	assigned   map[taskRef]struct{} // of the last sync, whole (P19)
	incomplete time.Time            // since when an assignment with tasks on their way stands; zero: none
	fetched    map[taskRef]*start   // tasks whose offsets were fetched
	revoked    bool                 // End(TryAbort) is due (P19)
	nudges     int                  // rejoins this worker asked for
	news       bool                 // posted, and not yet taken
	wake       context.CancelFunc
}

// start is what the group said about a task's inputs when it was assigned. A
// task starts anew whenever its offsets were fetched again.
type start struct {
	inputs []committed // what the group has, by input of the stage
	next   []int64     // where the client starts, by input
	err    error       // why the task cannot open
}

// said is what a mailbox held.
type said struct {
	assigned map[taskRef]struct{}
	fetched  map[taskRef]*start
	revoked  bool
	nudge    bool // a rebalance should be asked for
}

// owns reports whether the task that was opened for s is still this worker's.
func (s said) owns(ref taskRef, from *start) bool {
	_, ok := s.assigned[ref]
	return ok && s.fetched[ref] == from
}

// take empties the mailbox of news; ok is false if there was none.
func (m *mailbox) take() (s said, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	overdue := !m.incomplete.IsZero() && time.Since(m.incomplete) > incompleteFor
	if !m.news && !overdue {
		return said{}, false
	}
	s = said{assigned: m.assigned, fetched: maps.Clone(m.fetched), revoked: m.revoked}
	m.news, m.revoked = false, false
	if overdue {
		s.nudge = true
		m.nudges++
		m.incomplete = time.Now()
	}
	return s, true
}

// onNews sets what wakes the worker's poll; news from before wakes it at once.
func (m *mailbox) onNews(wake context.CancelFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = wake
	if m.news && wake != nil {
		wake()
	}
}

// post changes the mailbox and wakes the worker.
func (m *mailbox) post(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	m.news = true
	if m.wake != nil {
		m.wake()
	}
}

// read looks into the mailbox, or changes what is no news to the worker.
func (m *mailbox) read(look func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	look()
}

// reset empties the mailbox for a new client.
func (m *mailbox) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.assigned, m.fetched = nil, map[taskRef]*start{}
	m.incomplete, m.revoked = time.Time{}, false
}
