package topology

import "github.com/procd/procd/codec"

// KeyBy gives records a new key and sends them through a Kafka topic, so that
// all with the same key meet in one task: what follows is another stage. name
// names the topic and the stage; it must stay the same when the job is changed.
// c encodes the values on the way.
//
// Event time and the coordinates of the source record travel along, its headers
// do not.
func KeyBy[T any, K Key](s Stream[T], name string, key func(T) K, c codec.Codec[T]) Stream[T] {
	if key == nil {
		s.job.errorf("KeyBy %q: the function is nil", name)
	}
	return KeyByPer(s, name, func() func(T) (K, error) {
		return func(v T) (K, error) { return key(v), nil }
	}, c)
}

// KeyByPer is [KeyBy] for a function that owns scratch space or can fail; its
// error makes the record bad. make is called once per task, and may be called
// by several goroutines at once.
func KeyByPer[T any, K Key](s Stream[T], name string, make func() func(T) (K, error), c codec.Codec[T]) Stream[T] {
	o := s.job.add(&op{kind: opKeyBy, name: name, in: s.n.op, keyType: keyType[K]()})
	if make == nil {
		s.job.errorf("%v: the function is nil", o)
	}
	checkCodec(s.job, o, c)
	s.n.next = append(s.n.next, func(b *builder) func(T) {
		out := &output[T, K]{task: b.task, topic: b.topic(o), codec: forTask(c), key: make(), text: keyText[K](), repartition: true}
		return out.take
	})
	n := &node[T]{op: o}
	o.start = func(b *builder) func(*Record) {
		t, down, dec := b.task, n.build(b), forTask(c)
		var v T
		return func(r *Record) {
			if err := dec.Decode(r.Value, &v); err != nil {
				t.fail(err)
				return
			}
			down(v)
		}
	}
	return Stream[T]{job: s.job, n: n}
}
