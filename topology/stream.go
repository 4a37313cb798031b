package topology

// Stream is a stream of Ts in a job: what a source or a step hands on. Several
// steps may take the same stream; each gets every record, in the order in which
// the steps were added.
type Stream[T any] struct {
	job *Job
	n   *node[T]
}

// node is a step's output: the steps that take it, as functions that make, for
// a task, the closure that takes a value.
type node[T any] struct {
	op   *op
	next []func(b *builder) func(T)
}

// build makes the closure that hands a value to all takers.
func (n *node[T]) build(b *builder) func(T) {
	switch len(n.next) {
	case 0:
		return func(T) {}
	case 1:
		return n.next[0](b)
	}
	takers := make([]func(T), len(n.next))
	for i, next := range n.next {
		takers[i] = next(b)
	}
	t := b.task
	return func(v T) {
		for _, take := range takers {
			if t.failure != nil {
				return
			}
			take(v)
		}
	}
}

// step adds a step to s: make builds, for a task, the closure that takes s's
// values, given the closure that takes the step's.
func step[In, Out any](s Stream[In], o *op, make func(b *builder, down func(Out)) func(In)) Stream[Out] {
	o.in = s.n.op
	out := &node[Out]{op: s.job.add(o)}
	s.n.next = append(s.n.next, func(b *builder) func(In) { return make(b, out.build(b)) })
	return Stream[Out]{job: s.job, n: out}
}

// Map applies f to each value.
func Map[A, B any](s Stream[A], f func(A) B) Stream[B] {
	if f == nil {
		s.job.errorf("Map after %v: the function is nil", s.n.op)
	}
	return step(s, &op{kind: opMap}, func(_ *builder, down func(B)) func(A) {
		return func(v A) { down(f(v)) }
	})
}

// Filter hands on the values for which keep is true.
func Filter[T any](s Stream[T], keep func(T) bool) Stream[T] {
	if keep == nil {
		s.job.errorf("Filter after %v: the function is nil", s.n.op)
	}
	return step(s, &op{kind: opFilter}, func(_ *builder, down func(T)) func(T) {
		return func(v T) {
			if keep(v) {
				down(v)
			}
		}
	})
}

// FlatMap calls f for each value; f emits any number of values. It is also the
// stateless step that can refuse a record, with [Ctx.Fail].
func FlatMap[Out, In any](s Stream[In], f func(c Ctx[None, Out], v In)) Stream[Out] {
	if f == nil {
		s.job.errorf("FlatMap after %v: the function is nil", s.n.op)
	}
	return FlatMapPer(s, func() func(Ctx[None, Out], In) { return f })
}

// FlatMapPer is [FlatMap] for a function that owns scratch space: make is
// called once per task, and may be called by several goroutines at once.
func FlatMapPer[Out, In any](s Stream[In], make func() func(c Ctx[None, Out], v In)) Stream[Out] {
	if make == nil {
		s.job.errorf("FlatMapPer after %v: the function is nil", s.n.op)
	}
	return step(s, &op{kind: opFlatMap}, func(b *builder, down func(Out)) func(In) {
		f := make()
		c := Ctx[None, Out]{&cell[None, Out]{task: b.task, down: down}}
		return func(v In) { f(c, v) }
	})
}
