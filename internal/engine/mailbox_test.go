package engine

import (
	"testing"
	"time"
)

// TestP19WholeAssignment: ownership is the newest assignment, whole, and a task
// runs only from offsets that were fetched since it was assigned.
func TestP19WholeAssignment(t *testing.T) {
	m := &mailbox{fetched: map[taskRef]*start{}}
	a, b := taskRef{0, 0}, taskRef{0, 1}
	both := map[taskRef]struct{}{a: {}, b: {}}
	m.assign(both, false)
	sa, sb := &start{}, &start{}
	m.post(func() { m.fetched[a], m.fetched[b] = sa, sb })
	said, news := m.take()
	if !news || !said.owns(a, sa) || !said.owns(b, sb) {
		t.Fatal("what was assigned and fetched is not owned")
	}
	if _, again := m.take(); again {
		t.Error("news twice")
	}
	m.assign(map[taskRef]struct{}{a: {}}, false)
	said, _ = m.take()
	if !said.owns(a, sa) || said.owns(b, sb) {
		t.Error("a task that the newest assignment leaves out is owned, or one that it has is not")
	}
	m.assign(both, false)
	if said, _ = m.take(); said.owns(b, sb) {
		t.Error("a task that came back runs from offsets fetched before")
	}
	m.post(func() { m.fetched[a] = &start{} })
	if said, _ = m.take(); said.owns(a, sa) {
		t.Error("a task whose offsets were fetched again does not start anew")
	}
}

// TestP19AllInputs: a task needs every input of its stage.
func TestP19AllInputs(t *testing.T) {
	l := &layout{
		stages:  []stageLayout{{id: "in:a,b", inputs: []string{"a", "b"}, partitions: 2}},
		byTopic: map[string]int{"a": 0, "b": 0},
	}
	tasks := l.wholeTasks(map[string][]int32{"a": {0, 1}, "b": {1}, "other": {0}})
	if _, ok := tasks[taskRef{0, 1}]; !ok || len(tasks) != 1 {
		t.Errorf("whole tasks %v, want only partition 1", tasks)
	}
}

// TestNudge: an assignment that stays incomplete makes the worker ask for a
// rebalance; one that was completed does not.
func TestNudge(t *testing.T) {
	m := &mailbox{fetched: map[taskRef]*start{}}
	m.assign(nil, true)
	if said, _ := m.take(); said.nudge {
		t.Error("at once")
	}
	m.incomplete = time.Now().Add(-2 * incompleteFor)
	said, news := m.take()
	if !news || !said.nudge || m.nudges != 1 {
		t.Errorf("news %v, nudge %v, %d nudges", news, said.nudge, m.nudges)
	}
	m.incomplete = time.Now().Add(-2 * incompleteFor)
	m.assign(nil, false)
	if said, _ := m.take(); said.nudge {
		t.Error("after the assignment was completed")
	}
}

// TestLinkSevered: a client that takes long to close says nothing to its
// successor's worker.
func TestLinkSevered(t *testing.T) {
	w := &worker{mail: mailbox{fetched: map[taskRef]*start{}}}
	l := &link{w: w}
	l.onAssigned(map[taskRef]struct{}{{0, 0}: {}}, false)
	l.sever()
	l.onAssigned(nil, false)
	if said, _ := w.mail.take(); len(said.assigned) != 1 {
		t.Error("a severed link still delivers")
	}
}
