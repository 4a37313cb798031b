package kstate

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions lets a database compact as Pebble's own scheduler would, but for
// the time that it is being filled: nobody reads it, and what is merged late is
// merged less often. It needs no ticker, of which Pebble's has one per database.
type compactions struct {
	db pebble.DBForCompaction

	mu      sync.Mutex
	held    bool // nothing is begun
	closed  bool
	running int
	missed  bool           // the database asked in vain since the last look at it
	calls   sync.WaitGroup // into db
}

// hold keeps compactions from beginning, or lets them.
func (c *compactions) hold(held bool) {
	c.mu.Lock()
	was := c.held
	c.held = held
	c.mu.Unlock()
	if was && !held {
		c.grant()
	}
}

// allowed says whether one more may run; mu is held.
func (c *compactions) allowed() bool {
	return !c.closed && !c.held && c.running < c.db.GetAllowedWithoutPermission()
}

// grant begins what the database waits for.
func (c *compactions) grant() {
	for c.grantOne() {
	}
}

func (c *compactions) grantOne() (again bool) {
	c.mu.Lock()
	if c.db == nil || !c.allowed() {
		c.mu.Unlock()
		return false
	}
	c.running++
	c.missed = false
	c.calls.Add(1)
	c.mu.Unlock()

	waiting, _ := c.db.GetWaitingCompaction()
	began := waiting && c.db.Schedule(c)
	c.calls.Done()
	if began {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	return c.missed // it asked while this took the place that it wanted
}

// Register is called once the database is open.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
}

// Unregister returns when nothing calls the database any more.
func (c *compactions) Unregister() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.calls.Wait()
}

// TrySchedule is the database asking for a compaction.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.allowed() {
		c.missed = true
		return false, nil
	}
	c.running++
	return true, c
}

// UpdateGetAllowedWithoutPermission tells of a number that never changes here:
// the options give no range.
func (c *compactions) UpdateGetAllowedWithoutPermission() {}

// Started and the next two report a compaction that runs.
func (c *compactions) Started() {}

// MeasureCPU is not used.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats is not used.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done says that a compaction has ended.
func (c *compactions) Done() {
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	c.grant()
}
