package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// View is what the control topic says up to some offset. It is pure: records
// in, facts out. A View that [Tail.View] returned is never changed.
type View struct {
	generations map[int]Generation
	revisions   map[string]Revision // by key
	state       State
	states      map[string]State // that there were, by key
	processes   map[string]Process
	detached    map[int]bool // by generation
	savepoints  ledger
	inquiries   inquiries
}

// Current is what a job is at one moment.
type Current struct {
	Generation Generation
	Revision   int
	JobHash    string // of the revision
	Definition string
	Stores     []StoreSchemas
	State      State
	// Seat is that of the process whose start decided last what there is, Since
	// when it did, by its clock.
	Seat  string
	Since time.Time
}

// starter is the seat of a process that decided what there is, less than d ago,
// and whose members may therefore still be on their way into the group; "" if
// there is none. Whoever changes the job now would take it from that process:
// say a container of an older version that is restarted just then (P2).
func (c Current) starter(now time.Time, d time.Duration) string {
	if c.State.State != Running || now.Sub(c.Since).Abs() >= d {
		return ""
	}
	return c.Seat
}

// Apply takes the next record of the topic; a nil value is a tombstone. Keys
// that this version does not know are skipped.
func (v *View) Apply(key, value []byte) error {
	k := string(key)
	switch {
	case k == keyState:
		return v.applyState(k, value)
	case strings.HasPrefix(k, prefixGen):
		return v.applyGeneration(k, value)
	case strings.HasPrefix(k, prefixRevision):
		return v.applyRevision(k, value)
	case strings.HasPrefix(k, prefixRun):
		v.applyRun(k, value)
	case strings.HasPrefix(k, prefixProcess):
		v.applyProcess(k, value)
	case strings.HasPrefix(k, prefixDetached):
		v.applyDetached(k, value)
	case strings.HasPrefix(k, prefixQuestion):
		v.inquiries.applyQuestion(k, value)
	case strings.HasPrefix(k, prefixAnswer):
		v.inquiries.applyAnswer(k, value)
	default:
		return v.savepoints.apply(k, value)
	}
	return nil
}

func (v *View) applyState(key string, value []byte) error {
	if value == nil {
		return fmt.Errorf("procd/control: record %q was deleted: the topic is damaged", key)
	}
	state, err := decode[State](key, value)
	if err != nil {
		return err
	}
	v.state = state
	return nil
}

func (v *View) applyGeneration(key string, value []byte) error {
	numbers, err := parseNumbers(key, prefixGen, 1)
	if err != nil {
		return err
	}
	if value == nil {
		return fmt.Errorf("procd/control: record %q was deleted: the topic is damaged", key)
	}
	g, err := decode[Generation](key, value)
	if err != nil {
		return err
	}
	if g.Generation != numbers[0] {
		return fmt.Errorf("procd/control: record %q holds generation %d: the topic is damaged", key, g.Generation)
	}
	if v.generations == nil {
		v.generations = make(map[int]Generation)
	}
	v.generations[g.Generation] = g
	return nil
}

func (v *View) applyRevision(key string, value []byte) error {
	numbers, err := parseNumbers(key, prefixRevision, 2)
	if err != nil || value == nil {
		return err
	}
	r, err := decode[Revision](key, value)
	if err != nil {
		return err
	}
	if r.Generation != numbers[0] || r.Revision != numbers[1] {
		return fmt.Errorf("procd/control: record %q holds revision %d/%d: the topic is damaged", key, r.Generation, r.Revision)
	}
	if v.revisions == nil {
		v.revisions = make(map[string]Revision)
	}
	v.revisions[key] = r
	return nil
}

// applyRun passes over what it cannot read: what there was decides nothing.
func (v *View) applyRun(key string, value []byte) {
	s, err := decode[State](key, value)
	if value == nil || err != nil || runKey(s) != key {
		return
	}
	if v.states == nil {
		v.states = make(map[string]State)
	}
	v.states[key] = s
}

// applyProcess never fails: what a process says of itself decides nothing, so
// nothing may depend on it being readable.
func (v *View) applyProcess(key string, value []byte) {
	seat := strings.TrimPrefix(key, prefixProcess)
	p, err := decode[Process](key, value)
	if value == nil || err != nil {
		delete(v.processes, seat)
		return
	}
	if v.processes == nil {
		v.processes = make(map[string]Process)
	}
	v.processes[seat] = p
}

// applyDetached passes over what it cannot read: then the savepoint is kept.
func (v *View) applyDetached(key string, value []byte) {
	d, err := decode[Detached](key, value)
	if value == nil || err != nil || detachedKey(d.Generation) != key {
		return
	}
	if v.detached == nil {
		v.detached = make(map[int]bool)
	}
	v.detached[d.Generation] = true
}

// Detached reports whether a generation does not need the savepoint any more that
// it began with.
func (v *View) Detached(generation int) bool { return v.detached[generation] }

// Current is the newest generation and its newest revision; false while the
// job was never started.
func (v *View) Current() (Current, bool) {
	newest := 0
	for g := range v.generations {
		newest = max(newest, g)
	}
	if newest == 0 {
		return Current{State: v.state}, false
	}
	g := v.generations[newest]
	c := Current{Generation: g, JobHash: g.JobHash, Definition: g.Definition, Stores: g.Stores, State: v.state, Seat: v.state.Seat, Since: v.state.At}
	for _, r := range v.revisions {
		if r.Generation == newest && r.Revision > c.Revision {
			c.Revision, c.JobHash, c.Definition, c.Stores = r.Revision, r.JobHash, r.Definition, r.Stores
			if r.CreatedAt.After(c.Since) {
				c.Seat, c.Since = r.Seat, r.CreatedAt
			}
		}
	}
	return c, true
}

// State is the job's run state; the zero State while it was never started.
func (v *View) State() State { return v.state }

// States are all run states that the job was in, the oldest first. Versions
// before this record wrote only the current one.
func (v *View) States() []State {
	all := make(map[string]State, len(v.states)+1)
	maps.Copy(all, v.states)
	if v.state.State != "" {
		all[runKey(v.state)] = v.state
	}
	return slices.SortedFunc(maps.Values(all), func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), a.At.Compare(b.At))
	})
}

// Generations are all generations, oldest first.
func (v *View) Generations() []Generation {
	all := make([]Generation, 0, len(v.generations))
	for _, g := range slices.Sorted(maps.Keys(v.generations)) {
		all = append(all, v.generations[g])
	}
	return all
}

// Processes are what the job's processes last said of themselves, by seat.
func (v *View) Processes() []Process {
	all := make([]Process, 0, len(v.processes))
	for _, seat := range slices.Sorted(maps.Keys(v.processes)) {
		all = append(all, v.processes[seat])
	}
	return all
}

// clone copies the maps; the records in them are never changed.
func (v *View) clone() *View {
	return &View{
		generations: maps.Clone(v.generations),
		revisions:   maps.Clone(v.revisions),
		state:       v.state,
		states:      maps.Clone(v.states),
		processes:   maps.Clone(v.processes),
		detached:    maps.Clone(v.detached),
		savepoints:  v.savepoints.clone(),
		inquiries:   v.inquiries.clone(),
	}
}
