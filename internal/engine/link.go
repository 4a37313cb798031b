package engine

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// link ties the callbacks of one client to its worker. A client can take long
// to close; what it still has to say then does not concern its successor.
type link struct {
	w *worker

	mu      sync.Mutex
	cut     bool
	cl      *kgo.Client                  // known from the first callback on
	commits map[topicPartition]committed // of the offset fetch under way
}

// do runs a callback unless the link is cut.
func (l *link) do(callback func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut {
		callback()
	}
}

// sever waits for a callback under way and keeps all later ones out.
func (l *link) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

// onAssigned gets every assignment whole. It is where ownership comes from;
// the callbacks of kgo are only the moment to act (P19).
func (l *link) onAssigned(tasks map[taskRef]struct{}, incomplete bool) {
	l.do(func() { l.w.mail.assign(tasks, incomplete) })
}

// assign takes a whole assignment.
func (m *mailbox) assign(tasks map[taskRef]struct{}, incomplete bool) {
	m.post(func() {
		m.assigned = tasks
		for ref := range m.fetched {
			if _, ok := tasks[ref]; !ok {
				delete(m.fetched, ref)
			}
		}
		if !incomplete {
			m.incomplete = time.Time{}
		} else if m.incomplete.IsZero() {
			m.incomplete = time.Now()
		}
	})
}

// onOffsetsFetched keeps the metadata of the commits, which kgo does not pass
// on (P8). kgo calls it right before onFetchOffsets, on the same goroutine.
func (l *link) onOffsetsFetched(_ context.Context, cl *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	commits := map[topicPartition]committed{}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				c := committed{offset: p.Offset}
				if p.Metadata != nil {
					c.meta = *p.Metadata
				}
				commits[topicPartition{t.Topic, p.Partition}] = c
			}
		}
	}
	l.do(func() { l.cl, l.commits = cl, commits })
	return nil
}

// onFetchOffsets gets the partitions that are new to this client, before their
// first fetch. It answers with an offset for each, never a symbolic one (O2),
// and pauses them: their task is not running yet (T11).
func (l *link) onFetchOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	l.do(func() {
		pause := map[string][]int32{}
		starts := map[taskRef]*start{}
		for topic, partitions := range offsets {
			stage, ok := l.w.p.layout.stageOf(topic)
			if !ok {
				continue
			}
			for partition := range partitions {
				pause[topic] = append(pause[topic], partition)
				at := l.startInput(taskRef{stage, partition}, topic, starts)
				partitions[partition] = kgo.NewOffset().At(at).WithEpoch(-1)
			}
		}
		l.cl.PauseFetchPartitions(pause)
		l.w.mail.post(func() {
			for ref, s := range starts {
				l.w.mail.fetched[ref] = s
			}
		})
	})
	return offsets, nil
}

// startInput decides where one input starts and notes it for its task. Where it
// cannot, the input stays paused for good and the task's opening fails.
func (l *link) startInput(ref taskRef, topic string, starts map[taskRef]*start) int64 {
	stage := &l.w.p.layout.stages[ref.stage]
	s := starts[ref]
	if s == nil {
		s = &start{inputs: make([]committed, len(stage.inputs)), next: make([]int64, len(stage.inputs))}
		starts[ref] = s
	}
	c, ok := l.commits[topicPartition{topic, ref.partition}]
	if !ok {
		c.offset = -1
	}
	i := stage.input(topic)
	at, err := startOffset(c, l.w.p.generation(), stage.start(i, ref.partition))
	if err != nil {
		s.err = err
	}
	s.inputs[i], s.next[i] = c, at
	return at
}

// onRevoked and onLost run while the worker is between AllowRebalance and the
// return of its next poll, so it touches no task meanwhile (P19). Tasks are
// closed here, before the revocation is acknowledged.
func (l *link) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	l.do(func() { l.w.dropPartitions(revoked) })
}

func (l *link) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	l.do(func() { l.w.dropPartitions(lost) })
}

func (w *worker) dropPartitions(partitions map[string][]int32) {
	var refs []taskRef
	for topic, ps := range partitions {
		if stage, ok := w.p.layout.stageOf(topic); ok {
			for _, p := range ps {
				refs = append(refs, taskRef{stage, p})
			}
		}
	}
	if len(refs) == 0 {
		return
	}
	w.mail.post(func() {
		w.mail.revoked = true
		for _, ref := range refs {
			delete(w.mail.fetched, ref) // if it comes back, it is with new offsets
		}
	})
	for _, ref := range refs {
		w.drop(ref, true)
	}
}
