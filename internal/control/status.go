package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Status is all that Kafka knows of a job: facts, for people and scripts.
type Status struct {
	Job        string    `json:"job"`
	State      State     `json:"state"`
	Generation int       `json:"generation"`
	Revision   int       `json:"revision"`
	JobHash    string    `json:"job_hash"`
	CreatedAt  time.Time `json:"created_at"` // of the generation
	CreatedBy  string    `json:"created_by"`

	// Savepoint is what the generation began with, "" if with nothing. Detached
	// says that it does not need it any more.
	Savepoint string `json:"savepoint,omitempty"`
	Detached  bool   `json:"detached,omitempty"`
	// Dropped and AcceptedGap are what was given up to begin with it: uids whose
	// state was dropped (--drop), and how many records that retention had removed
	// are skipped (--accept-gap).
	Dropped     []string `json:"dropped,omitempty"`
	AcceptedGap int64    `json:"accepted_gap,omitempty"`

	Stages    []StageRef        `json:"stages"`
	Members   []MemberStatus    `json:"members"`
	Inputs    []PartitionStatus `json:"inputs"`
	Lag       int64             `json:"lag"` // of all inputs together
	Processes []ProcessStatus   `json:"processes"`
	// Problem is what a start would be refused for, "" if nothing.
	Problem string `json:"problem,omitempty"`
}

// MemberStatus is one member of the group: a worker.
type MemberStatus struct {
	ID         string `json:"id"` // procd.<job>.<seat>.<worker>
	Host       string `json:"host"`
	Partitions int    `json:"partitions"`
}

// PartitionStatus is how far the job is in one partition of an input.
type PartitionStatus struct {
	Stage     string `json:"stage"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Position is the next offset to read: the committed one, or where the
	// generation started.
	Position int64 `json:"position"`
	// Stable is the end for readers of committed records, End the end of the
	// log. Between them lie records of transactions that are open.
	Stable int64 `json:"stable"`
	End    int64 `json:"end"`
	Lag    int64 `json:"lag"` // End - Position, as lag tools count
	// Blockers are open transactions of others that hold Stable back (T5).
	Blockers []Blocker `json:"blockers,omitempty"`
}

// Blocker is an open transaction of a producer that is not this job's.
type Blocker struct {
	ProducerID      int64     `json:"producer_id"`
	TransactionalID string    `json:"transactional_id,omitempty"`
	Offset          int64     `json:"offset"` // of its first record
	LastWrite       time.Time `json:"last_write"`
}

// ProcessStatus is what a process said of itself, and how long ago.
type ProcessStatus struct {
	Process
	AgeSeconds float64 `json:"age_seconds"`
}

// Status reads everything anew.
func (p *Plane) Status(ctx context.Context) (Status, error) {
	if err := p.attach(ctx); err != nil {
		return Status{}, err
	}
	view := p.tail.View()
	c, ok := view.Current()
	if !ok {
		return Status{}, fmt.Errorf("%w: %s was never started", ErrNoJob, p.settings.Job)
	}
	g := c.Generation
	s := Status{
		Job: p.settings.Job, State: c.State, Generation: g.Generation, Revision: c.Revision, JobHash: c.JobHash,
		CreatedAt: g.CreatedAt, CreatedBy: g.By, Stages: g.Stages, Processes: p.processes(view),
	}
	if g.Savepoint != nil {
		s.Savepoint, s.Detached = g.Savepoint.ID, view.Detached(g.Generation)
		s.Dropped, s.AcceptedGap = g.Dropped, g.AcceptedGap
	}
	group, err := p.members(ctx)
	if err != nil {
		return s, err
	}
	s.Members = group.status()
	if c.State.State == Reset {
		return s, nil // its topics and offsets are gone on purpose
	}
	found, err := p.findAll(ctx, g, nil)
	if err != nil {
		return s, err
	}
	if refused := checkTopics(g, found); refused != nil {
		s.Problem = refused.Error()
	}
	if s.Inputs, err = p.inputs(ctx, g); err != nil {
		return s, err
	}
	for _, in := range s.Inputs {
		s.Lag += in.Lag
	}
	return s, p.blame(ctx, s.Inputs)
}

func (p *Plane) processes(view *View) []ProcessStatus {
	var all []ProcessStatus
	for _, process := range view.Processes() {
		age := p.settings.Now().Sub(process.At)
		all = append(all, ProcessStatus{Process: process, AgeSeconds: max(0, age.Seconds())})
	}
	return all
}

func (m members) status() []MemberStatus {
	var all []MemberStatus
	for _, member := range m.all {
		s := MemberStatus{ID: memberName(member), Host: member.ClientHost}
		if assigned, ok := member.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				s.Partitions += len(t.Partitions)
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b MemberStatus) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// inputs compares committed offsets and ends. A partition that cannot be
// listed, because its topic is gone, is left out.
func (p *Plane) inputs(ctx context.Context, g Generation) ([]PartitionStatus, error) {
	var topics []string
	for _, s := range g.Stages {
		topics = append(topics, s.Inputs...)
	}
	ends, err := p.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: end offsets: %w", err)
	}
	stable, err := p.adm.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: stable offsets: %w", err)
	}
	committed, err := p.adm.FetchOffsets(ctx, Group(g.Job))
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("procd/control: committed offsets: %w", err)
	}
	var all []PartitionStatus
	for _, s := range g.Stages {
		for _, topic := range s.Inputs {
			all = append(all, partitions(g, s.ID, topic, committed, stable, ends)...)
		}
	}
	return all, nil
}

func partitions(g Generation, stage, topic string, committed kadm.OffsetResponses, stable, ends kadm.ListedOffsets) []PartitionStatus {
	ref, _ := g.Topic(topic)
	var all []PartitionStatus
	for n := range ref.Partitions {
		end, ok := ends.Lookup(topic, n)
		last, ok2 := stable.Lookup(topic, n)
		if !ok || !ok2 || end.Err != nil || last.Err != nil {
			continue
		}
		s := PartitionStatus{Stage: stage, Topic: topic, Partition: n, Stable: last.Offset, End: end.Offset}
		if start, ok := g.Start.At(topic, n); ok {
			s.Position = start
		}
		if c, ok := committed.Lookup(topic, n); ok && c.Err == nil && c.At >= 0 {
			s.Position = c.At
		}
		s.Lag = max(0, s.End-s.Position)
		all = append(all, s)
	}
	return all
}

// blame finds whose open transactions hold readers back (T5). The job's own
// are no news: one is nearly always open while it runs.
func (p *Plane) blame(ctx context.Context, inputs []PartitionStatus) error {
	var held kadm.TopicsSet
	for _, in := range inputs {
		if in.Stable < in.End {
			held.Add(in.Topic, in.Partition)
		}
	}
	if len(held) == 0 {
		return nil
	}
	described, err := p.adm.DescribeProducers(ctx, held)
	if err != nil {
		return fmt.Errorf("procd/control: describe producers: %w", err)
	}
	listed, err := p.adm.ListTransactions(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("procd/control: list transactions: %w", err)
	}
	ids := make(map[int64]string)
	listed.Each(func(t kadm.ListedTransaction) { ids[t.ProducerID] = t.TxnID })
	for i := range inputs {
		in := &inputs[i]
		for _, producer := range described[in.Topic].Partitions[in.Partition].ActiveProducers.Sorted() {
			id := ids[producer.ProducerID]
			if producer.CurrentTxnStartOffset < 0 || strings.HasPrefix(id, transactionPrefix(p.settings.Job)) {
				continue
			}
			in.Blockers = append(in.Blockers, Blocker{
				ProducerID: producer.ProducerID, TransactionalID: id,
				Offset: producer.CurrentTxnStartOffset, LastWrite: time.UnixMilli(producer.LastTimestamp).UTC(),
			})
		}
	}
	return nil
}
