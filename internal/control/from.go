package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/procd/procd/savepoint"
)

// Candidate is a savepoint that a start names.
type Candidate struct {
	Latest bool // it was named by that word, which never rewinds (P7)
	// Ref and Manifest are those of the savepoint; Manifest is nil for `latest`
	// of a job that has none, and of a savepoint that was removed.
	Ref      SavepointRef
	Manifest *savepoint.Manifest
}

// candidate is what deciding needs to know of the savepoint that was chosen.
func (c *Chosen) candidate() *Candidate {
	if c == nil {
		return nil
	}
	found := &Candidate{Latest: c.Word == Latest}
	if c.Gone != nil {
		found.Ref = *c.Gone
	}
	if c.Opened == nil {
		return found
	}
	m := c.Opened.Manifest()
	found.Manifest = m
	found.Ref = SavepointRef{
		ID: m.ID, SHA256: c.Opened.SHA256(), Path: c.Path, Form: m.Form, Job: m.Job, Generation: m.Generation,
	}
	return found
}

// stillThere looks for the savepoint once more, right before the record: whoever
// removes one hides it first, and then asks whether a generation began with it.
// nil is there.
func (c *Candidate) stillThere() error {
	if c == nil {
		return nil
	}
	again, err := savepoint.OpenPath(c.Ref.Path)
	if err != nil {
		return fmt.Errorf("savepoint %s was removed meanwhile: %w", c.Ref.ID, err)
	}
	return again.Close()
}

// begins applies P7: what a start that names a savepoint makes of it. A
// reason means that it passes the savepoint over and goes on with what is current. A container is
// restarted with the same arguments for ever, so a savepoint that was started
// from once never rewinds the job again by itself.
func begins(v *View, f Facts) (begin Verdict, reason string) {
	from := f.From
	if from.Ref.ID == "" {
		return begin, "the job has no savepoint yet"
	}
	c, started := v.Current()
	stopped := c.State.State == Stopped
	if c.State.State != Reset && cameFrom(c.Generation, from.Ref) && !(stopped && f.Again) {
		return begin, fmt.Sprintf("generation %d began with savepoint %s", c.Generation.Generation, from.Ref.ID)
	}
	if from.Latest && started && !(stopped && c.State.Savepoint == from.Ref.ID) {
		return begin, fmt.Sprintf("the latest savepoint is %s, and latest never rewinds; to go back name its id", from.Ref.ID)
	}
	if from.Manifest == nil {
		return refuseGone(c, f), ""
	}
	if from.Latest {
		return beginFrom(c, f), ""
	}
	if g, ok := v.basedOn(from.Ref); ok && !f.Again {
		return refuse(fmt.Sprintf("generation %d began with savepoint %s already, and that start is over: the job is at generation %d, %s",
			g.Generation, from.Ref.ID, c.Generation.Generation, c.State.State), "go back to it once more with "+f.start("--savepoint", from.Ref.ID, "--again")), ""
	}
	return beginFrom(c, f), ""
}

// beginFrom makes a generation of the savepoint, once nobody else runs the job.
func beginFrom(c Current, f Facts) Verdict {
	if c.State.Run != f.Run {
		return refuse(fmt.Sprintf("the job is already running: %s started it meanwhile (%s)", c.State.By, origins(c.Generation)),
			"procd stop "+c.Generation.Job+" first, if this start is the one that counts")
	}
	stores, err := baseVersions(f.From.Manifest, f.Definition)
	if err != nil {
		return Verdict{Action: Refuse, Refusal: err}
	}
	verdict := create(c, f)
	verdict.From, verdict.Stores = f.From, stores
	if c.State.State == Stopped && !f.Removed {
		if seats := seatsOf(c.Generation.Job, f.Live); len(seats) > 0 {
			return Verdict{Action: Remove, Members: seats}
		}
	}
	return quiet(f, c, verdict)
}

// seatsOf are the members that are workers of the job, by their names.
func seatsOf(job string, live []string) []string {
	return slices.DeleteFunc(slices.Clone(live), func(id string) bool {
		return !strings.HasPrefix(id, transactionPrefix(job))
	})
}

func cameFrom(g Generation, ref SavepointRef) bool { return g.Savepoint != nil && g.Savepoint.Is(ref) }

// refuseGone is the answer to a start that would begin with a savepoint that is
// not there any more.
func refuseGone(c Current, f Facts) Verdict {
	ref := f.From.Ref
	if c.State.State == Stopped && c.State.Savepoint == ref.ID {
		return refuse(fmt.Sprintf("the job was stopped with savepoint %s, which is not there any more", ref.ID),
			"continue with "+f.start("--resume")+", or put it back")
	}
	hint := "start without --savepoint, or from one that procd savepoints lists"
	if c.State.State == Stopped {
		hint = "continue with " + f.start("--resume") + ", or start from one that procd savepoints lists"
	}
	return refuse(fmt.Sprintf("savepoint %s was removed; the job is at %s, %s", ref.ID, origins(c.Generation), c.State.State), hint)
}

// Remembered is the savepoint of that id, or at that absolute path, that a
// generation began with, the newest one's: it may have been removed since.
func (v *View) Remembered(name string) (ref SavepointRef, ok bool) {
	for _, g := range v.Generations() {
		if s := g.Savepoint; s != nil && (s.ID == name || s.Path == name) {
			ref, ok = *s, true
		}
	}
	return ref, ok
}

// basedOn is the newest generation that began with a savepoint.
func (v *View) basedOn(ref SavepointRef) (found Generation, ok bool) {
	for _, g := range v.Generations() {
		if cameFrom(g, ref) {
			found, ok = g, true
		}
	}
	return found, ok
}

func origins(g Generation) string {
	if g.Savepoint == nil {
		return fmt.Sprintf("generation %d", g.Generation)
	}
	return fmt.Sprintf("generation %d, from savepoint %s", g.Generation, g.Savepoint.ID)
}

// baseVersions numbers the schemas of every store: those of the savepoint keep
// their numbers, for its rows are labelled with them; new ones follow (P18).
// Whether they resolve is the savepoint's verdict.
func baseVersions(m *savepoint.Manifest, d Definition) ([]StoreSchemas, *Refused) {
	stores := firstVersions(d)
	for i := range stores {
		base, ok := m.Store(stores[i].UID)
		if !ok {
			continue
		}
		var versions []string
		for n, v := range base.Versions {
			if v.Version != n+1 {
				return nil, &Refused{
					Reason: fmt.Sprintf("savepoint %s lacks the schema of version %d of %q", m.ID, n+1, base.UID),
					Hint:   "procd savepoint-verify " + m.ID,
				}
			}
			versions = append(versions, v.Schema)
		}
		stores[i] = numbered(stores[i], versions)
	}
	return stores, nil
}

// numbered puts older versions before the one that the job writes.
func numbered(s StoreSchemas, older []string) StoreSchemas {
	writes := s.Versions[0]
	at := slices.Index(older, writes)
	s.Versions = slices.Clone(older)
	if at < 0 {
		at = len(older)
		s.Versions = append(s.Versions, writes)
	}
	s.Current = at + 1
	return s
}

// inherit is how far any generation had consumed the sources (P10): the
// elementwise maximum of what the savepoint says, what the generation before
// had inherited and what it had committed. Only topics that are still the same
// ones count (O4).
func inherit(sources []TopicRef, m *savepoint.Manifest, previous Generation, committed Offsets) Offsets {
	frontiers := make(Offsets, len(sources))
	known := m.Frontiers()
	for _, t := range sources {
		merged := make([]int64, t.Partitions)
		if slices.ContainsFunc(m.Sources, func(s savepoint.Topic) bool { return s.Name == t.Name && s.ID == t.ID.String() }) {
			raise(merged, known[t.Name])
		}
		if slices.Contains(previous.Sources, t) {
			raise(merged, previous.Frontiers[t.Name])
			raise(merged, committed[t.Name])
		}
		frontiers[t.Name] = merged
	}
	return frontiers
}

func raise(offsets, by []int64) {
	for i := range min(len(offsets), len(by)) {
		offsets[i] = max(offsets[i], by[i])
	}
}
