package topology

import "log/slog"

// None is the state of a step that has none.
type None struct{}

// Meta describes the record at hand. It is the task's own: it must not be
// changed, and is valid only while the record is processed.
type Meta struct {
	// Key is the current key: the record's, or that of the last KeyBy. Nil is
	// no key.
	Key []byte
	// Time is the event time, epoch milliseconds.
	Time int64
	// Topic, Partition and Offset are where the record is in the source topic,
	// also behind a KeyBy.
	Topic     string
	Partition int32
	Offset    int64
	// Headers are the source record's; none behind a KeyBy.
	Headers []Header
}

// Ctx is what a step's function works through: the state of the current key and
// the way to the next step. It is valid only during the call it was given to.
//
// After [Ctx.Fail], here or in a step that was emitted to, Set, Clear and Emit
// do nothing: the record's effects are being dropped.
type Ctx[S, Out any] struct{ c *cell[S, Out] }

// cell is the task-owned memory behind a Ctx.
type cell[S, Out any] struct {
	task  *Task
	down  func(Out)
	keyed *keyed[S] // nil: no state
}

// State returns the state of the current key, a copy: it can be changed freely
// and counts only once it is Set. It is zero if there is none.
func (c Ctx[S, Out]) State() S {
	var v S
	if k := c.c.keyed; k != nil {
		v, _ = k.store.Get(k.entry)
	}
	return v
}

// Has says whether the current key has a state.
func (c Ctx[S, Out]) Has() bool {
	k := c.c.keyed
	if k == nil {
		return false
	}
	_, ok := k.store.Get(k.entry)
	return ok
}

// Set makes v the state of the current key. What v's pointers, slices and maps
// lead to must not be changed afterwards.
func (c Ctx[S, Out]) Set(v S) {
	k, t := c.c.keyed, c.c.task
	switch {
	case t.failure != nil:
	case k == nil:
		t.fail(ErrNoState)
	default:
		k.set(t, v)
	}
}

// Clear discards the state of the current key.
func (c Ctx[S, Out]) Clear() {
	if k := c.c.keyed; k != nil && c.c.task.failure == nil {
		k.store.Clear(k.entry)
	}
}

// Emit hands v to the next steps, which run before Emit returns.
func (c Ctx[S, Out]) Emit(v Out) {
	if c.c.task.failure == nil {
		c.c.down(v)
	}
}

// Fail says that this record is bad, and why. Nothing of it is kept, neither
// state nor output, and the source's policy for bad records applies. The first
// call counts.
func (c Ctx[S, Out]) Fail(err error) { c.c.task.fail(err) }

// Meta describes the record at hand.
func (c Ctx[S, Out]) Meta() *Meta { return &c.c.task.meta }

// Logger is the task's.
func (c Ctx[S, Out]) Logger() *slog.Logger { return c.c.task.env.Logger }
