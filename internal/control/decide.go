package control

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Facts are what a start knows beside the control topic.
type Facts struct {
	Definition Definition
	Resume     bool // `start --resume`
	// From is the savepoint that the start names; nil if it names none.
	From  *Candidate
	Again bool // `start --again`
	// Run is the run that was current when this start looked first: a later
	// one was begun by somebody else meanwhile.
	Run int
	// Live are the members of the group that are not on this process's seat
	// (P2), by instance id, or by member id where there is none.
	Live []string
	// Waited says that the session timeout has passed since Live was first
	// seen not empty: whoever is still there is alive.
	Waited bool
	// Removed says that the seats of the stopped run were removed from the group.
	Removed bool
	// JobFile is what the commands in a refusal name; "" for a job in Go.
	JobFile string
}

// start is the command that starts this job with flags, as a user types it.
func (f Facts) start(flags ...string) string {
	words := append([]string{"procd start"}, flags...)
	if f.JobFile != "" {
		words = append(words, f.JobFile)
	}
	return strings.Join(words, " ")
}

// Action is what a start has to do next.
type Action string

const (
	Join   Action = "join"   // run what is current
	Create Action = "create" // write generation, and with it a new run
	Revise Action = "revise" // write a revision of the current generation
	Resume Action = "resume" // write the state only: a new run of what is current
	Remove Action = "remove" // the members of a stopped run from the group (P3)
	Wait   Action = "wait"   // for members of another definition to leave or expire
	Refuse Action = "refuse" // say why, exit 3
)

// Verdict is an action and what it is done with.
type Verdict struct {
	Action     Action
	Generation int            // to join, create or revise
	Revision   int            // to join or write
	Run        int            // to join or write
	Stores     []StoreSchemas // to write: every store, its versions numbered (P18)
	From       *Candidate     // Create: the savepoint that it begins with, or nil
	Members    []string       // Remove: their instance ids
	Reason     string         // Wait: whom for; Revise: what changed; Join, Resume: why a savepoint is passed over
	Refusal    *Refused       // Refuse
}

// writes says whether the action needs a decider.
func (v Verdict) writes() bool {
	return v.Action == Create || v.Action == Revise || v.Action == Resume
}

// Decide says what a start of this definition has to do, given what the
// control topic says. It is pure: no I/O, no clock; its scenarios are
// testdata/decide-*.txt.
//
// A verdict that writes is only valid for a decider, who has read the topic to
// its end after becoming it (P1).
func Decide(v *View, f Facts) Verdict {
	if f.From == nil {
		return goOn(v, f)
	}
	verdict, reason := begins(v, f)
	if reason == "" {
		return verdict
	}
	verdict = goOn(v, f)
	if verdict.Reason == "" {
		verdict.Reason = reason
	}
	return verdict
}

// goOn decides a start that names no savepoint, or one to pass over.
func goOn(v *View, f Facts) Verdict {
	c, started := v.Current()
	if !started || c.State.State == Reset {
		return quiet(f, c, create(c, f))
	}
	stopped := c.State.State == Stopped
	if stopped && !f.Resume {
		return refuseStopped(c, f)
	}
	run := c.State.Run
	if stopped {
		run++
	}
	next := Verdict{Generation: c.Generation.Generation, Revision: c.Revision, Run: run}
	switch {
	case c.JobHash != f.Definition.Hash:
		return quiet(f, c, revise(c, f.Definition, next))
	case stopped:
		next.Action = Resume
		return quiet(f, c, next)
	}
	next.Action = Join
	return next
}

func create(c Current, f Facts) Verdict {
	return Verdict{
		Action:     Create,
		Generation: c.Generation.Generation + 1,
		Run:        c.State.Run + 1,
		Stores:     firstVersions(f.Definition),
	}
}

// revise accepts a changed job into the current generation if its state can
// follow (P2): the same stages, stores and key types, and every older schema
// version resolving to the new one.
func revise(c Current, d Definition, next Verdict) Verdict {
	stores, misfits := followStores(c.Stores, d.Stores)
	misfits = append(followStages(c.Generation, d), misfits...)
	if len(misfits) > 0 {
		return refuse(fmt.Sprintf("the job differs from the one that generation %d runs, and state cannot follow: %s",
			c.Generation.Generation, strings.Join(misfits, "; ")),
			"change it back, or "+resetHint(c.Generation.Job))
	}
	next.Action = Revise
	next.Revision++
	next.Stores = stores
	next.Reason = fmt.Sprintf("job definition %s replaces %s", d.Hash, c.JobHash)
	return next
}

// quiet lets a verdict that writes pass only while nobody else is in the group.
func quiet(f Facts, c Current, verdict Verdict) Verdict {
	if !verdict.writes() || len(f.Live) == 0 {
		return verdict
	}
	who := fmt.Sprintf("%d members of the group: %s", len(f.Live), abbreviate(f.Live))
	if len(f.Live) == 1 {
		who = "one member of the group: " + f.Live[0]
	}
	if !f.Waited {
		return Verdict{Action: Wait, Reason: who}
	}
	reason, hint := alive(c, f, verdict)
	return refuse(reason+" ("+who+")", hint)
}

func alive(c Current, f Facts, verdict Verdict) (reason, hint string) {
	stop := "procd stop " + c.Generation.Job
	switch {
	case c.Generation.Generation == 0:
		return "the job was never started, but its group has members", "they are not procd's: end them, or rename the job"
	case verdict.From != nil && c.State.State == Running:
		return fmt.Sprintf("the job is already running (%s)", origins(c.Generation)),
			"procd savepoint-and-stop " + c.Generation.Job + ", or " + stop + ", then start again"
	case verdict.From != nil:
		return "the job does not run, but its group still has members", stop + " again removes them; then start again"
	case verdict.Action == Revise && c.State.State == Running:
		return "the job is already running with another definition",
			"procd savepoint-and-stop " + c.Generation.Job + ", then " + f.start("--savepoint", "latest")
	case verdict.Action == Create:
		return "the job was reset, but processes of it are still running", "end them, then start again"
	}
	return "the job was stopped, but processes of it are still running", stop + " again removes them; then " + f.start("--resume")
}

// refuseStopped is the answer to what a container's restart policy does after
// a stop (P6).
func refuseStopped(c Current, f Facts) Verdict {
	at := ""
	if !c.State.At.IsZero() {
		at = " at " + timestamp(c.State.At)
	}
	by := ""
	if c.State.By != "" {
		by = " by " + c.State.By
	}
	where, hint := "", "continue it with "+f.start("--resume")
	if c.State.Savepoint != "" {
		where = " with savepoint " + c.State.Savepoint
		hint = "start from there with " + f.start("--savepoint", c.State.Savepoint) + ", or continue with --resume"
	}
	switch from := f.From; {
	case from == nil || from.Manifest == nil:
	case from.Latest:
		hint += ", or go back with --savepoint " + from.Ref.ID
	default:
		hint += ", or go back to " + from.Ref.ID + " once more with --again"
	}
	return refuse(fmt.Sprintf("the job was stopped%s%s%s (generation %d, run %d)", where, at, by, c.State.Generation, c.State.Run), hint)
}

func refuse(reason, hint string) Verdict {
	return Verdict{Action: Refuse, Refusal: &Refused{Reason: reason, Hint: hint}}
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// followStages names the stages that the current generation has and the job
// does not, and the other way round: committed offsets and position records
// are kept by stage and topic (P8), so neither can change within a generation.
func followStages(g Generation, d Definition) (misfits []string) {
	want := make(map[string][]string)
	for _, s := range d.Stages {
		want[s.ID] = kafkaInputs(g, s)
	}
	for _, had := range g.Stages {
		inputs, ok := want[had.ID]
		delete(want, had.ID)
		switch {
		case !ok:
			misfits = append(misfits, fmt.Sprintf("stage %q is gone", had.ID))
		case !slices.Equal(sorted(inputs), sorted(had.Inputs)):
			misfits = append(misfits, fmt.Sprintf("stage %q reads %s instead of %s",
				had.ID, strings.Join(sorted(inputs), ", "), strings.Join(sorted(had.Inputs), ", ")))
		}
	}
	for _, s := range d.Stages {
		if _, added := want[s.ID]; added {
			misfits = append(misfits, fmt.Sprintf("stage %q is new", s.ID))
		}
	}
	return misfits
}

// kafkaInputs are the names in Kafka of what a stage reads.
func kafkaInputs(g Generation, s StageDefinition) []string {
	inputs := slices.Clone(s.Sources)
	for _, name := range s.Repartitions {
		inputs = append(inputs, RepartitionTopic(g.Job, g.Generation, name))
	}
	return inputs
}

// followStores numbers the new schemas after the known ones.
func followStores(had []StoreSchemas, want []StoreDefinition) (stores []StoreSchemas, misfits []string) {
	for _, s := range had {
		i := slices.IndexFunc(want, func(w StoreDefinition) bool { return w.UID == s.UID })
		if i < 0 {
			misfits = append(misfits, fmt.Sprintf("store %q is gone", s.UID))
			continue
		}
		next, misfit := followStore(s, want[i])
		if misfit != "" {
			misfits = append(misfits, misfit)
			continue
		}
		stores = append(stores, next)
	}
	for _, w := range want {
		if !slices.ContainsFunc(had, func(s StoreSchemas) bool { return s.UID == w.UID }) {
			misfits = append(misfits, fmt.Sprintf("store %q is new", w.UID))
		}
	}
	return stores, misfits
}

func followStore(had StoreSchemas, want StoreDefinition) (next StoreSchemas, misfit string) {
	switch {
	case had.Stage != want.Stage:
		return next, fmt.Sprintf("store %q moved from stage %q to %q", had.UID, had.Stage, want.Stage)
	case had.KeyType != want.KeyType:
		return next, fmt.Sprintf("the key of store %q changed from %s to %s", had.UID, had.KeyType, want.KeyType)
	}
	for i, version := range had.Versions {
		if err := resolves(version, want.Schema); err != nil {
			return next, fmt.Sprintf("state of store %q, version %d, cannot be read as the new type: %v", had.UID, i+1, err)
		}
	}
	next = had
	next.Versions = slices.Clone(had.Versions)
	if i := slices.Index(had.Versions, want.Schema); i >= 0 {
		next.Current = i + 1
		return next, ""
	}
	next.Versions = append(next.Versions, want.Schema)
	next.Current = len(next.Versions)
	return next, ""
}

func firstVersions(d Definition) []StoreSchemas {
	stores := make([]StoreSchemas, 0, len(d.Stores))
	for _, s := range d.Stores {
		stores = append(stores, StoreSchemas{
			UID: s.UID, Stage: s.Stage, KeyType: s.KeyType, Versions: []string{s.Schema}, Current: 1,
		})
	}
	return stores
}

func sorted(names []string) []string {
	return slices.Sorted(slices.Values(names))
}

// abbreviate names the first few; the rest is a number.
func abbreviate(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// newGeneration is the record of a Create, without what only a cluster can
// say: partitions, topic ids, start offsets and frontiers.
func newGeneration(v Verdict, d Definition, job string, o origin) Generation {
	g := Generation{
		Job: job, Generation: v.Generation, Run: v.Run, StartID: o.startID,
		JobHash: d.Hash, Definition: d.Text, Stores: v.Stores,
		Previous:  v.Generation - 1,
		CreatedAt: o.at, By: o.by,
	}
	if v.From != nil {
		ref := v.From.Ref
		g.Savepoint = &ref
	}
	return g
}
