package topology

import (
	"strconv"

	"github.com/procd/procd/kstate"
)

// reached is how far earlier generations had brought a task (P10). It never
// changes while the task lives: behind a KeyBy the records of a source
// partition may come in another order than theirs, so having seen a later one
// says nothing of those before.
type reached struct {
	offsets    []kstate.SourceOffset
	last       int    // where the last record's partition was found
	generation []byte // the header's value
}

func (r *reached) init(env TaskEnv) {
	r.offsets = env.Reached
	r.generation = strconv.AppendInt(nil, int64(env.Generation), 10)
}

// holds reports whether an earlier generation has run the record at hand. It is
// asked for each output, not for each record, and is one comparison in a job
// that was never rewound.
func (r *reached) holds(m *Meta) bool {
	if r.last < len(r.offsets) {
		if o := &r.offsets[r.last]; o.Partition == m.Partition && o.Topic == m.Topic {
			return m.Offset < o.Offset
		}
	}
	for i := range r.offsets {
		if o := &r.offsets[i]; o.Partition == m.Partition && o.Topic == m.Topic {
			r.last = i
			return m.Offset < o.Offset
		}
	}
	return false
}

// againHeaders adds to an output's headers that it is emitted again, by which
// generation and for which record. They do not count towards MaxRecordBytes:
// an output that went through once must go through again.
func (t *Task) againHeaders(h []Header) []Header {
	m, n := &t.meta, len(t.headers)-len(h)
	t.headers = append(t.headers, Header{HeaderGeneration, t.reached.generation})
	t.addHeader(HeaderTopic, append(t.arena.begin(), m.Topic...))
	t.addHeader(HeaderPartition, strconv.AppendInt(t.arena.begin(), int64(m.Partition), 10))
	t.addHeader(HeaderOffset, strconv.AppendInt(t.arena.begin(), m.Offset, 10))
	return t.headers[n:len(t.headers):len(t.headers)]
}
