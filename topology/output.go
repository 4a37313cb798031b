package topology

import (
	"fmt"

	"github.com/procd/procd/codec"
)

// OutputOption configures [To].
type OutputOption interface{ output(*outputSettings) }

type outputSettings struct {
	partitioner Partitioner
	typed       []any
}

// KeyedBy makes this field, as text (see [Key]), the key of the output records.
// Default: the current key.
func KeyedBy[T any, K Key](field func(T) K) OutputOption {
	return KeyedByPer(func() func(T) (K, error) {
		return func(v T) (K, error) { return field(v), nil }
	})
}

// KeyedByPer is [KeyedBy] for a function that owns scratch space or can fail;
// its error makes the record bad. make is called once per task.
func KeyedByPer[T any, K Key](make func() func(T) (K, error)) OutputOption {
	return outputKey[T, K]{make}
}

type outputKey[T any, K Key] struct{ make func() func(T) (K, error) }

func (o outputKey[T, K]) output(s *outputSettings) { s.typed = append(s.typed, o) }

func (o outputKey[T, K]) take(t *Task, topic int, c codec.Codec[T]) func(T) {
	out := &output[T, K]{task: t, topic: topic, codec: c, key: o.make(), text: keyText[K]()}
	return out.take
}

// To writes a stream to a topic, in the task's transaction.
func To[T any](s Stream[T], topic string, c codec.Codec[T], opts ...OutputOption) {
	set := outputSettings{partitioner: Murmur2}
	for _, o := range opts {
		o.output(&set)
	}
	o := s.job.add(&op{kind: opTo, name: topic, in: s.n.op, partitioner: set.partitioner})
	checkCodec(s.job, o, c)
	take := currentKey[T]
	for _, opt := range set.typed {
		if k, ok := opt.(interface {
			take(*Task, int, codec.Codec[T]) func(T)
		}); ok {
			take = k.take
		} else {
			var v T
			s.job.errorf("%v: KeyedBy takes another type than the stream's, %T", o, v)
		}
	}
	s.n.next = append(s.n.next, func(b *builder) func(T) { return take(b.task, b.topic(o), forTask(c)) })
}

// ToStdout writes a stream to the standard output, a line per value, after the
// transaction has committed.
func ToStdout[T any](s Stream[T], c codec.Codec[T]) {
	o := s.job.add(&op{kind: opToStdout, in: s.n.op, partitioner: Any})
	checkCodec(s.job, o, c)
	s.n.next = append(s.n.next, func(b *builder) func(T) { return currentKey(b.task, b.topic(o), forTask(c)) })
}

// currentKey takes values into an output that keeps the record's key.
func currentKey[T any](t *Task, topic int, c codec.Codec[T]) func(T) {
	out := &output[T, []byte]{task: t, topic: topic, codec: c}
	return out.take
}

// output is the last closure of a chain: it turns values into Outputs. Value
// and key are kept in it to be encoded from, since the address of a parameter
// that goes into an interface's method would move it to the heap each time.
type output[T any, K Key] struct {
	task        *Task
	topic       int
	repartition bool
	codec       codec.Codec[T]
	key         func(T) (K, error) // nil: the record's key
	text        func([]byte, *K) []byte
	valueSlot   T
	keySlot     K
}

func (o *output[T, K]) take(v T) {
	t := o.task
	key, err := o.keyOf(v)
	if err != nil {
		t.fail(err)
		return
	}
	o.valueSlot = v
	b, err := o.codec.Append(t.arena.begin(), &o.valueSlot)
	if err != nil {
		t.fail(fmt.Errorf("output %s: %w", t.plan.Topics[o.topic].Name, err))
		return
	}
	t.emit(o.topic, o.repartition, key, t.arena.end(b))
}

func (o *output[T, K]) keyOf(v T) (key []byte, err error) {
	if o.key == nil {
		return o.task.currentKey(), nil
	}
	if o.keySlot, err = o.key(v); err != nil {
		return nil, err
	}
	return o.task.arena.end(o.text(o.task.arena.begin(), &o.keySlot)), nil
}
