package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"github.com/procd/procd/internal/seat"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

const (
	// groupPoll is how often a start that waits looks at the group.
	groupPoll = 250 * time.Millisecond
	// expiryMargin is added to the session timeout before a member that is
	// still there counts as alive (P2).
	expiryMargin = time.Second
)

// StartOptions are what the person who starts a job wants and allows. What
// drops or accepts something counts for the one generation that is begun with
// it, and is recorded there.
type StartOptions struct {
	Resume bool // start a job that was stopped

	Savepoint *Chosen  // start from a savepoint; nil: go on, or begin anew
	Drop      []string // uids whose state in the savepoint is given up
	AcceptGap bool     // go on without records that retention has removed
	Again     bool     // from a savepoint that an earlier generation began with

	// SavepointDir is where this process has the job's savepoints: the base of
	// the current generation is looked for there too, by its id.
	SavepointDir string
	// JobFile is what the next command in a refusal is to name.
	JobFile string
}

// Chosen is the savepoint that a start names.
type Chosen struct {
	// Opened is nil for `latest` where the job has no savepoint, and where Gone
	// is not.
	Opened *savepoint.Savepoint
	// Gone is a savepoint that was removed after a generation had begun with it:
	// a container is started with the same arguments for ever, and such a start
	// joins that generation (P7).
	Gone *SavepointRef
	// Path is its directory, absolute.
	Path string
	// Word is what the user wrote: an id, a path or `latest`.
	Word string
}

// Latest is the word for the newest savepoint of the job; it never rewinds (P7).
const Latest = "latest"

// Begin is everything between the start of a process and the moment its
// workers may join the group: read what is current, decide if there is
// something to decide, check that topics are what they were. s is the seat
// that this process holds.
//
// Joining what is current takes no decision and writes nothing. A *[Refused]
// is final until something changes; [ErrTopicMissing] names topics that the
// user has to create; other errors may go away.
func (p *Plane) Begin(ctx context.Context, plan *topology.Plan, s *seat.Seat, o StartOptions) (*Lease, error) {
	return p.begin(ctx, Define(plan), s, o)
}

func (p *Plane) begin(ctx context.Context, d Definition, s *seat.Seat, o StartOptions) (*Lease, error) {
	b := &beginning{plane: p, definition: d, seat: s, options: o, startID: newStartID()}
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	return b.run(ctx)
}

func newStartID() string {
	var random [8]byte
	rand.Read(random[:]) // never fails, says its documentation
	return hex.EncodeToString(random[:])
}

// beginning is one call of Begin.
type beginning struct {
	plane      *Plane
	definition Definition
	seat       *seat.Seat
	options    StartOptions
	startID    string

	looked  bool
	first   int       // the run that was current at the first look
	removed bool      // the seats of the stopped run
	waiting time.Time // since when members of another definition are waited for
}

// open looks for the user's topics before it leaves anything in Kafka.
func (b *beginning) open(ctx context.Context) error {
	p := b.plane
	control := ControlTopic(p.settings.Job)
	found, err := p.find(ctx, append(b.definition.userTopics(), control)...)
	if err != nil {
		return err
	}
	_, exists := found[control]
	if !exists {
		if _, err := b.examine(ctx, &View{}); err != nil {
			return err
		}
	}
	if err := p.ensureControlTopic(ctx, exists); err != nil {
		return err
	}
	p.follow()
	return nil
}

// run repeats read, decide, act until there is something to join: what was
// written is never assumed to count, it is read back like anybody else's (P1).
func (b *beginning) run(ctx context.Context) (*Lease, error) {
	for {
		group, err := b.read(ctx)
		if err != nil {
			return nil, err
		}
		b.look()
		view := b.plane.tail.View()
		verdict := Decide(view, b.meets(view, group))
		switch {
		case verdict.Action == Refuse:
			return nil, verdict.Refusal
		case verdict.Action == Join:
			return b.join(ctx, verdict, group)
		case verdict.Action == Wait:
			err = b.wait(ctx, verdict)
		case verdict.Action == Remove:
			b.removed = true
			err = b.plane.leave(ctx, "the job was stopped", verdict.Members...)
		default:
			err = b.plane.decide(ctx, b.tryDecide, b.settled)
		}
		if err != nil {
			return nil, err
		}
	}
}

// read brings the view and the group up to date, at the same time: a restart
// has to be quick.
func (b *beginning) read(ctx context.Context) (members, error) {
	var group members
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return b.plane.tail.ReadToEnd(ctx) })
	both.Go(func() (err error) {
		group, err = b.plane.members(ctx)
		return err
	})
	return group, both.Wait()
}

// look keeps what the job was when this start looked first.
func (b *beginning) look() {
	if !b.looked {
		b.looked, b.first = true, b.plane.tail.View().State().Run
	}
}

func (b *beginning) facts(group members) Facts {
	_, others := group.split(b.seat.InstancePrefix())
	waited := !b.waiting.IsZero() && b.plane.settings.Now().Sub(b.waiting) >= b.patience()
	return Facts{
		Definition: b.definition, Resume: b.options.Resume,
		From: b.options.Savepoint.candidate(), Again: b.options.Again, Run: b.first,
		Live: others, Waited: waited, Removed: b.removed, JobFile: b.options.JobFile,
	}
}

// patience is how long a start waits for members to leave or to expire (P2).
func (b *beginning) patience() time.Duration {
	return b.plane.settings.SessionTimeout + expiryMargin
}

// meets are the facts with the process among the living that has just started the
// job, and may not have joined the group yet.
func (b *beginning) meets(v *View, group members) Facts {
	f := b.facts(group)
	current, _ := v.Current()
	seat := current.starter(b.plane.settings.Now(), b.patience())
	if seat != "" && seat != b.seat.ID() && !slices.ContainsFunc(f.Live, isOf(current.Generation.Job, seat)) {
		f.Live = append(f.Live, transactionPrefix(current.Generation.Job)+seat+" (it has just started the job)")
	}
	return f
}

// isOf says whether a member of the group is on a seat.
func isOf(job, seat string) func(member string) bool {
	return func(member string) bool { return strings.HasPrefix(member, transactionPrefix(job)+seat+".") }
}

// settled says that the topic, as far as it was read, leaves nothing to write.
func (b *beginning) settled() bool {
	return !Decide(b.plane.tail.View(), b.facts(members{})).writes()
}

// wait sleeps until it is worth looking again.
func (b *beginning) wait(ctx context.Context, verdict Verdict) error {
	if b.waiting.IsZero() {
		b.waiting = b.plane.settings.Now()
		b.plane.settings.Logger.Info("waiting for "+verdict.Reason+" to leave or to expire",
			"at most", b.patience())
	}
	return b.plane.pause(ctx, groupPoll, b.settled)
}

// tryDecide takes the decision as the one decider, or finds that there is none
// to take any more: unless it returns an error, read again.
//
// It does P1 in its order. What is left over from an earlier attempt is
// listed before this process becomes decider, and removed by id: so a process
// that is paused in the middle, and fenced, can never remove the topics that
// the next decider made.
func (b *beginning) tryDecide(ctx context.Context) error {
	p := b.plane
	// In a later attempt, whoever fenced the one before may have written what
	// there is to join: do not fence him for nothing.
	if b.settled() {
		return nil
	}
	topics, err := b.examine(ctx, p.tail.View())
	if err != nil {
		return err
	}
	before, err := p.generationTopics(ctx)
	if err != nil {
		return err
	}
	d, err := p.becomeDecider(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	group, err := p.members(ctx)
	if err != nil {
		return err
	}
	view := p.tail.View()
	verdict := Decide(view, b.meets(view, group))
	if !verdict.writes() || verdict.Action == Create && topics.found == nil {
		return nil // not what it was a moment ago
	}
	if err := p.fence(ctx); err != nil {
		return err
	}
	o := origin{startID: b.startID, seat: b.seat.ID(), by: p.settings.By, at: p.settings.Now().UTC()}
	var begun Generation
	if verdict.Action == Create {
		begun, err = b.create(ctx, verdict, topics, before, o)
		if errors.Is(err, errConflict) {
			return d.conflict(ctx, err)
		}
		if err != nil {
			return err
		}
	}
	current, _ := view.Current()
	entries, err := verdict.entries(b.definition, current, begun, o)
	if err != nil {
		return err
	}
	if err := verdict.From.stillThere(); err != nil {
		return errors.Join(err, p.remove(ctx, begun.Topics))
	}
	if err := d.commit(ctx, entries); err != nil {
		return err
	}
	p.settings.Logger.Info("decided", "action", string(verdict.Action), "generation", verdict.Generation,
		"revision", verdict.Revision, "run", verdict.Run, "reason", verdict.Reason)
	b.tell(begun, topics.verdict)
	return nil
}

// tell says what a person who starts from a savepoint should know: by how much it
// is a rewind (P6), and all that the verdict says of it.
func (b *beginning) tell(g Generation, judged savepoint.Verdict) {
	logger := b.plane.settings.Logger
	if n := g.Replay(); n > 0 {
		logger.Warn("the start is a rewind: records are processed again", "records", n, "savepoint", g.Savepoint.ID)
	}
	for _, l := range judged.Lines {
		level := slog.LevelInfo
		if l.Level == savepoint.Warn {
			level = slog.LevelWarn
		}
		logger.Log(context.Background(), level, l.Text, "rule", string(l.Rule), "savepoint", g.Savepoint.ID)
	}
}

// examine looks at the topics that a new generation needs, and judges the
// savepoint that it is to begin with, before anything is touched.
func (b *beginning) examine(ctx context.Context, v *View) (examined, error) {
	verdict := Decide(v, b.facts(members{}))
	if verdict.Action != Create {
		return examined{}, nil
	}
	return b.plane.examine(ctx, b.definition, verdict.From, b.options)
}

// create makes a generation's topics and its record. The past is fenced.
func (b *beginning) create(ctx context.Context, verdict Verdict, topics examined, before []TopicRef, o origin) (Generation, error) {
	p := b.plane
	g := newGeneration(verdict, b.definition, p.settings.Job, o)
	counts := make(map[string]int32)
	for _, s := range b.definition.Sources {
		t := topics.found[s.Topic]
		counts[s.Topic] = t.Partitions
		g.Sources = append(g.Sources, TopicRef{Name: s.Topic, ID: t.ID, Partitions: t.Partitions})
	}
	stages, specs, err := layOut(b.definition, g.Job, g.Generation, counts)
	if err != nil {
		return g, err
	}
	g.Stages = stages
	if err := b.position(ctx, &g, verdict.From, topics, counts); err != nil {
		return g, err
	}
	if err := p.remove(ctx, leftOver(g.Job, g.Generation, before)); err != nil {
		return g, err
	}
	g.Topics, err = p.create(ctx, specs)
	return g, err
}

// position says where the generation starts: at the savepoint's offsets, and
// where input.start says in topics that it does not know. From there up to the
// frontiers it is replay (P10).
func (b *beginning) position(ctx context.Context, g *Generation, from *Candidate, topics examined, counts map[string]int32) error {
	p := b.plane
	unknown := slices.DeleteFunc(slices.Clone(b.definition.Sources), func(s SourceDefinition) bool {
		_, ok := topics.start[s.Topic]
		return ok
	})
	start, err := p.resolveStart(ctx, unknown, counts)
	if err != nil {
		return err
	}
	maps.Copy(start, topics.start)
	g.Start = start
	if from == nil {
		return nil
	}
	current, _ := p.tail.View().Current()
	// After the fence no transaction is open, so stable offsets are all there
	// are. A worker that has woken since would make this wait for the end of what
	// it began, rather than let it read too low (P5).
	committed, err := p.committed(kadm.RequireStable(ctx), current.Generation)
	if err != nil {
		return err
	}
	g.Frontiers = inherit(g.Sources, from.Manifest, current.Generation, committed)
	g.Dropped, g.AcceptedGap = slices.Clone(b.options.Drop), topics.gap
	g.Reached, err = b.reached(ctx, g.Sources, from, current)
	return err
}

// leftOver are topics of a generation that never began.
func leftOver(job string, generation int, topics []TopicRef) []TopicRef {
	var left []TopicRef
	for _, t := range topics {
		if g, ok := topicGeneration(job, t.Name); ok && g >= generation {
			left = append(left, t)
		}
	}
	return left
}
