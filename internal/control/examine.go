package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/procd/procd/savepoint"
)

// examined is what the brokers say of the topics of a generation to be begun,
// and what follows for the savepoint it begins with.
type examined struct {
	found   map[string]foundTopic
	verdict savepoint.Verdict // only of a start from a savepoint
	start   Offsets           // of the sources that the savepoint knows
	gap     int64             // records of them that are lost
}

// examine looks at the user's topics and, if the start is from a savepoint,
// judges it. It touches nothing; what it refuses is a *[Refused] with the
// verdict.
func (p *Plane) examine(ctx context.Context, d Definition, from *Candidate, o StartOptions) (examined, error) {
	topics := d.userTopics()
	if from != nil {
		for _, t := range from.Manifest.Sources {
			topics = append(topics, t.Name)
		}
	}
	found, err := p.find(ctx, topics...)
	ex := examined{found: found}
	if err != nil || from == nil {
		return ex, errors.Join(err, missing(d.userTopics(), found))
	}
	facts, err := p.topicFacts(ctx, d, from.Manifest, found)
	if err != nil {
		return ex, err
	}
	plan, err := d.judged(p.settings.Job, found)
	if err != nil {
		return ex, err
	}
	ex.verdict = savepoint.Judge(from.Manifest, plan, savepoint.Options{
		Drop: o.Drop, AcceptGap: o.AcceptGap, Topics: facts, Savepoint: o.Savepoint.Word, JobFile: o.JobFile,
	})
	if !ex.verdict.OK {
		return ex, refusedBy(ex.verdict, from, p.settings.Job)
	}
	ex.start, ex.gap = resume(d, from.Manifest, facts)
	return ex, missing(d.userTopics(), found)
}

// judged is the job as the savepoint's verdict needs it.
func (d Definition) judged(job string, found map[string]foundTopic) (savepoint.Plan, error) {
	counts, err := d.partitions(found)
	if err != nil {
		return savepoint.Plan{}, err
	}
	plan := savepoint.Plan{Job: job}
	for _, s := range d.Stages {
		plan.Stages = append(plan.Stages, savepoint.PlanStage{
			ID: s.ID, Sources: s.Sources, Partitions: counts[s.ID], Partitioner: s.Partitioner,
		})
	}
	for _, s := range d.Stores {
		plan.Stores = append(plan.Stores, savepoint.PlanStore{UID: s.UID, Stage: s.Stage, KeyType: s.KeyType, Schema: s.Schema})
	}
	return plan, nil
}

// partitions are the tasks of each stage; nil while a source is missing, which
// the verdict says by itself.
func (d Definition) partitions(found map[string]foundTopic) (map[string]int32, error) {
	counts := make(map[string]int32)
	for _, s := range d.Sources {
		t, ok := found[s.Topic]
		if !ok {
			return nil, nil
		}
		counts[s.Topic] = t.Partitions
	}
	return stagePartitions(d, counts)
}

// topicFacts are what the brokers say of the sources of the job and the
// savepoint.
func (p *Plane) topicFacts(ctx context.Context, d Definition, m *savepoint.Manifest, found map[string]foundTopic) (map[string]savepoint.TopicFacts, error) {
	facts := make(map[string]savepoint.TopicFacts)
	for _, s := range d.Sources {
		facts[s.Topic] = savepoint.TopicFacts{Missing: true}
	}
	for _, t := range m.Sources {
		facts[t.Name] = savepoint.TopicFacts{Missing: true}
	}
	there := slices.DeleteFunc(slices.Sorted(maps.Keys(facts)), func(name string) bool { _, ok := found[name]; return !ok })
	if len(there) == 0 {
		return facts, nil
	}
	starts, err := p.adm.ListStartOffsets(ctx, there...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: start offsets: %w", err)
	}
	ends, err := p.adm.ListEndOffsets(ctx, there...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: end offsets: %w", err)
	}
	for _, name := range there {
		f := savepoint.TopicFacts{ID: found[name].ID.String(), Partitions: found[name].Partitions}
		if f.Start, err = listed(starts, name, f.Partitions); err != nil {
			return nil, fmt.Errorf("procd/control: start offset of %w", err)
		}
		if f.End, err = listed(ends, name, f.Partitions); err != nil {
			return nil, fmt.Errorf("procd/control: end offset of %w", err)
		}
		facts[name] = f
	}
	return facts, nil
}

// resume are the savepoint's offsets of the topics that the job reads, behind
// the gap that the user accepted, and how many records are in it.
func resume(d Definition, m *savepoint.Manifest, facts map[string]savepoint.TopicFacts) (start Offsets, gap int64) {
	start = make(Offsets)
	offsets := m.Offsets()
	for _, s := range d.Sources {
		known, ok := offsets[s.Topic]
		if !ok {
			continue
		}
		at := slices.Clone(known)
		raise(at, facts[s.Topic].Start)
		for i := range at {
			gap += at[i] - known[i]
		}
		start[s.Topic] = at
	}
	return start, gap
}

// refusedBy is a verdict that refuses, as an error.
func refusedBy(v savepoint.Verdict, from *Candidate, job string) *Refused {
	var reasons, hints []string
	for _, l := range v.Lines {
		if l.Level == savepoint.Refuse {
			reasons = append(reasons, fmt.Sprintf("%s (%s)", l.Text, l.Rule))
			if !slices.Contains(hints, l.Hint) {
				hints = append(hints, l.Hint)
			}
		}
	}
	hint := strings.Join(hints, "; ")
	if v.Command != "" {
		hint += ": " + v.Command
	}
	return &Refused{
		Reason:  fmt.Sprintf("job %s cannot start from savepoint %s: %s", job, from.Ref.ID, strings.Join(reasons, "; ")),
		Hint:    hint,
		Verdict: &v,
	}
}

// committed are the offsets that the given generation committed, of its
// sources; 0 where it committed none. With [kadm.RequireStable] in ctx it waits
// for open transactions, and after [Plane.fence] its answer is final (P5).
func (p *Plane) committed(ctx context.Context, g Generation) (Offsets, error) {
	offsets := make(Offsets)
	if g.Generation == 0 {
		return offsets, nil
	}
	var fetched kadm.OffsetResponses
	err := retry(ctx, func() (err error) {
		fetched, err = p.adm.FetchOffsets(ctx, Group(p.settings.Job))
		if errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		return errors.Join(err, failed(fetched, g.Sources))
	})
	if err != nil {
		return nil, fmt.Errorf("procd/control: committed offsets of group %s: %w", Group(p.settings.Job), err)
	}
	own := strconv.Itoa(g.Generation) // anything else is another generation's, or another tool's (P8)
	for _, t := range g.Sources {
		at := make([]int64, t.Partitions)
		for i := range at {
			if c, ok := fetched.Lookup(t.Name, int32(i)); ok && c.Metadata == own {
				at[i] = max(0, c.At)
			}
		}
		offsets[t.Name] = at
	}
	return offsets, nil
}

// failed is the error of one partition: kadm reports some only there (P1). An
// offset that is not stable yet is one.
func failed(fetched kadm.OffsetResponses, topics []TopicRef) error {
	for _, t := range topics {
		for i := range t.Partitions {
			if o, ok := fetched.Lookup(t.Name, i); ok && o.Err != nil {
				return fmt.Errorf("%s partition %d: %w", t.Name, i, o.Err)
			}
		}
	}
	return nil
}
