package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/procd/procd/kstate"
)

// Question asks a run of the job for the state of one key. It decides nothing,
// and neither does an [Answer]: what cannot be read is passed over.
type Question struct {
	ID string `json:"id"` // random
	// Generation and Run are what was current when it was asked: a question
	// cannot hit a later run (P6).
	Generation int    `json:"generation"`
	Run        int    `json:"run"`
	Store      string `json:"store"` // uid
	Key        []byte `json:"key"`   // of the store: a Kafka record key
	// PatienceMillis is how long the asker waits. Long after it, what the asker
	// left behind is removed.
	PatienceMillis int64     `json:"patience_ms"`
	At             time.Time `json:"at"`
	By             string    `json:"by"`
}

// Answer is the state of a question's key in one partition, as of the last
// transaction of the task that committed.
type Answer struct {
	Question  string `json:"question"`
	Partition int32  `json:"partition"`
	// Of is the number of partitions that may have the key, and answer: 1, or
	// all of them where any partition may have any key (P24).
	Of     int32  `json:"of"`
	Worker string `json:"worker"` // instance id
	// Sources are the next offsets of the task's inputs: what the state is as of.
	Sources []kstate.SourceOffset `json:"sources"`
	// Version is the schema version of Data; 0: the key has no state.
	Version int    `json:"version,omitempty"`
	Data    []byte `json:"data,omitempty"` // Avro
	// More is the number of records before this one with the rest of Data, each
	// an [answerPart]: a state may be larger than a record of the topic.
	More int       `json:"more,omitempty"`
	At   time.Time `json:"at"`
}

// answerPart is a piece of the state in an answer.
type answerPart struct {
	Question  string `json:"question"`
	Partition int32  `json:"partition"`
	Part      int    `json:"part"` // from 1 up; the first piece is the answer's own
	Data      []byte `json:"data"`
}

// answerBytes is how much of a state is in one record: less than the smallest
// size that a broker's records are usually bounded to, as Base64.
const answerBytes = 512 << 10

func questionKey(id string) string { return prefixQuestion + id }

func answerKey(id string, partition int32) string {
	return prefixAnswer + id + "/" + strconv.Itoa(int(partition))
}

func answerPartKey(id string, partition int32, part int) string {
	return answerKey(id, partition) + "/" + strconv.Itoa(part)
}

// inquiries are what a View knows of questions and answers.
type inquiries struct {
	questions []Question            // the first that was asked first
	answers   map[string][]Answer   // by question; one per partition
	parts     map[string]answerPart // by key
}

func (i *inquiries) applyQuestion(key string, value []byte) {
	id := strings.TrimPrefix(key, prefixQuestion)
	others := slices.DeleteFunc(slices.Clone(i.questions), func(q Question) bool { return q.ID == id })
	if q, err := decode[Question](key, value); value != nil && err == nil && q.ID == id {
		others = append(others, q)
	}
	i.questions = others
}

func (i *inquiries) applyAnswer(key string, value []byte) {
	id, tail, _ := strings.Cut(strings.TrimPrefix(key, prefixAnswer), "/")
	if strings.Contains(tail, "/") {
		i.applyPart(key, value)
		return
	}
	partition, err := strconv.ParseInt(tail, 10, 32)
	if err != nil {
		return
	}
	others := slices.DeleteFunc(slices.Clone(i.answers[id]), func(a Answer) bool { return a.Partition == int32(partition) })
	if a, err := decode[Answer](key, value); value != nil && err == nil && a.Question == id && a.Partition == int32(partition) {
		others = append(others, a)
	}
	if len(others) == 0 {
		delete(i.answers, id)
		return
	}
	if i.answers == nil {
		i.answers = make(map[string][]Answer)
	}
	i.answers[id] = others
}

func (i *inquiries) applyPart(key string, value []byte) {
	p, err := decode[answerPart](key, value)
	if value == nil || err != nil || answerPartKey(p.Question, p.Partition, p.Part) != key {
		delete(i.parts, key)
		return
	}
	if i.parts == nil {
		i.parts = make(map[string]answerPart)
	}
	i.parts[key] = p
}

// whole puts the pieces of an answer together; false while one is missing.
func (i *inquiries) whole(a Answer) (Answer, bool) {
	a.Data = slices.Clone(a.Data)
	for part := range a.More {
		p, ok := i.parts[answerPartKey(a.Question, a.Partition, part+1)]
		if !ok {
			return a, false
		}
		a.Data = append(a.Data, p.Data...)
	}
	return a, true
}

// clone copies the maps; what is in them is never changed.
func (i *inquiries) clone() inquiries {
	return inquiries{questions: i.questions, answers: maps.Clone(i.answers), parts: maps.Clone(i.parts)}
}

// Questions are those that were not withdrawn yet, in the order of asking.
// The list must not be changed.
func (v *View) Questions() []Question { return v.inquiries.questions }

// Answers are the answers to a question by partition; complete says that none
// is missing.
func (v *View) Answers(id string) (answers []Answer, complete bool) {
	for _, a := range v.inquiries.answers[id] {
		if whole, ok := v.inquiries.whole(a); ok {
			answers = append(answers, whole)
		}
	}
	slices.SortFunc(answers, func(a, b Answer) int { return int(a.Partition - b.Partition) })
	return answers, len(answers) > 0 && len(answers) >= int(answers[0].Of)
}

// records are the keys of everything about a question.
func (v *View) recordsOf(question string) []string {
	keys := []string{questionKey(question)}
	for _, a := range v.inquiries.answers[question] {
		keys = append(keys, answerKey(question, a.Partition))
	}
	for key, p := range v.inquiries.parts {
		if p.Question == question {
			keys = append(keys, key)
		}
	}
	return keys
}

// ErrNoAnswer says that no worker answered a question in time.
var ErrNoAnswer = errors.New("procd/control: no answer")

// Ask asks the running job for the state of a key, and waits for the answer,
// until ctx ends ([ErrNoAnswer]). A job that does not run refuses: so does one
// that should run, and has no process. What it wrote it takes back.
//
// The state is that of the worker which has the key's partition, as of its last
// committed transaction. A worker that lost the partition a moment ago, and does
// not know it yet, may still answer; the offsets say which moment it is.
func (p *Plane) Ask(ctx context.Context, store string, key []byte) ([]Answer, error) {
	if err := p.attach(ctx); err != nil {
		return nil, err
	}
	q, err := p.question(ctx, store, key)
	if err != nil {
		return nil, err
	}
	err = writeRecord(ctx, p, questionKey(q.ID), q)
	var answers []Answer
	if err == nil {
		answers, err = p.awaitAnswers(ctx, q)
	}
	// Also after an error: it may be in the topic without our knowing.
	if withdrawErr := p.withdraw(ctx, q.ID); err == nil && withdrawErr != nil {
		p.settings.Logger.Warn("could not take back what was asked; a process of the job removes it", "err", withdrawErr)
	}
	return answers, err
}

// question is made of what is current.
func (p *Plane) question(ctx context.Context, store string, key []byte) (Question, error) {
	c, ok := p.tail.View().Current()
	if !ok {
		return Question{}, fmt.Errorf("%w: %s was never started", ErrNoJob, p.settings.Job)
	}
	if c.State.State != Running {
		return Question{}, &Refused{
			Reason: fmt.Sprintf("%s does not run (%s since %s)", p.settings.Job, c.State.State, c.State.At.UTC().Format("2006-01-02T15:04:05Z")),
			Hint:   "only a running job can be asked; what a savepoint holds is shown by procd savepoint-inspect",
		}
	}
	group, err := p.members(ctx)
	if err != nil {
		return Question{}, err
	}
	if len(group.all) == 0 {
		return Question{}, &Refused{
			Reason: p.settings.Job + " has no process that could answer",
			Hint:   "it was not stopped, so procd start goes on with it",
		}
	}
	q := Question{
		ID: rand.Text(), Generation: c.Generation.Generation, Run: c.State.Run, Store: store, Key: key,
		At: p.settings.Now().UTC(), By: p.settings.By,
	}
	if end, ok := ctx.Deadline(); ok {
		q.PatienceMillis = time.Until(end).Milliseconds()
	}
	return q, nil
}

func (p *Plane) awaitAnswers(ctx context.Context, q Question) ([]Answer, error) {
	for {
		changed := p.tail.Changed()
		v := p.tail.View()
		if answers, complete := v.Answers(q.ID); complete {
			return answers, nil
		}
		if s := v.State(); s.State != Running || s.Run != q.Run {
			return nil, &Refused{
				Reason: fmt.Sprintf("run %d of %s, which was asked, ended before it answered", q.Run, p.settings.Job),
				Hint:   "procd history " + p.settings.Job + " says how",
			}
		}
		if err := p.tail.Err(); err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, fmt.Errorf("%w of %s", ErrNoAnswer, p.settings.Job)
			}
			return nil, context.Cause(ctx)
		}
	}
}

// withdrawWait bounds the removal of what was asked, after ctx has ended too.
const withdrawWait = 5 * time.Second

// withdraw removes a question and the answers to it.
func (p *Plane) withdraw(ctx context.Context, question string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawWait)
	defer cancel()
	var errs []error
	for _, key := range p.tail.View().recordsOf(question) {
		errs = append(errs, p.write(ctx, key, nil))
	}
	return errors.Join(errs...)
}

// Answer writes what one worker of this process knows of a question's key.
func (l *Lease) Answer(ctx context.Context, a Answer) error {
	rest := slices.Collect(slices.Chunk(a.Data, answerBytes))
	if len(rest) > 0 {
		a.Data, rest = rest[0], rest[1:]
	}
	a.More, a.At = len(rest), l.plane.settings.Now().UTC()
	for i, data := range rest {
		part := answerPart{a.Question, a.Partition, i + 1, data}
		if err := writeRecord(ctx, l.plane, answerPartKey(a.Question, a.Partition, part.Part), part); err != nil {
			return err
		}
	}
	return writeRecord(ctx, l.plane, answerKey(a.Question, a.Partition), a)
}

func writeRecord[T any](ctx context.Context, p *Plane, key string, record T) error {
	value, err := encode(record)
	if err != nil {
		return err
	}
	return p.write(ctx, key, value)
}

// Withdraw removes a question that nobody waits for any more, and its answers.
func (l *Lease) Withdraw(ctx context.Context, question string) error {
	return l.plane.withdraw(ctx, question)
}

// Leftovers finds questions whose askers are gone without having taken them
// back. It goes by how long it has seen them, not by clocks of other hosts.
type Leftovers struct {
	seen map[string]time.Time
}

// leftoverAge is added to the patience of an asker before its question, or an
// answer that came after it was withdrawn, counts as left behind.
const leftoverAge = time.Minute

// Find returns the questions that are to be withdrawn. It is to be called now
// and then.
func (l *Leftovers) Find(v *View, now time.Time) (questions []string) {
	patience := make(map[string]time.Duration)
	for id := range v.inquiries.answers {
		patience[id] = 0
	}
	for _, p := range v.inquiries.parts {
		patience[p.Question] = 0
	}
	for _, q := range v.inquiries.questions {
		patience[q.ID] = time.Duration(q.PatienceMillis) * time.Millisecond
	}
	maps.DeleteFunc(l.seen, func(id string, _ time.Time) bool { _, ok := patience[id]; return !ok })
	if l.seen == nil {
		l.seen = make(map[string]time.Time)
	}
	for id, wait := range patience {
		first, ok := l.seen[id]
		if !ok {
			l.seen[id] = now
		} else if now.Sub(first) >= wait+leftoverAge {
			questions = append(questions, id)
		}
	}
	slices.Sort(questions)
	return questions
}
