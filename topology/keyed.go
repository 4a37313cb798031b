package topology

import (
	"fmt"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/kstate"
)

// StateOption configures a step that keeps state.
type StateOption interface{ state(*stateSettings) }

type stateSettings struct{ typ any }

type stateOption func(*stateSettings)

func (o stateOption) state(s *stateSettings) { o(s) }

// StateAs sets how the state is stored. Default: [codec.State], whose Avro
// schema is derived from the type.
func StateAs[S any](t kstate.Type[S]) StateOption {
	return stateOption(func(s *stateSettings) { s.typ = t })
}

// Process calls f for each value with the state of the value's key: one
// optional S per key. uid names the store, its changelog topic and its state in
// savepoints; it must stay the same when the job is changed.
//
// The key is the record's (see [PartitionedBy]) or the last [KeyBy]'s; a record
// without a key is bad.
func Process[S, Out, In any](s Stream[In], uid string, f func(c Ctx[S, Out], v In), opts ...StateOption) Stream[Out] {
	if f == nil {
		s.job.errorf("Process %q: the function is nil", uid)
	}
	return ProcessPer(s, uid, func() func(Ctx[S, Out], In) { return f }, opts...)
}

// ProcessPer is [Process] for a function that owns scratch space: make is
// called once per task, and may be called by several goroutines at once.
func ProcessPer[S, Out, In any](s Stream[In], uid string, make func() func(c Ctx[S, Out], v In), opts ...StateOption) Stream[Out] {
	o := &op{kind: opProcess, name: uid}
	if make == nil {
		s.job.errorf("%v: the function is nil", o)
	}
	typ := stateType[S](s.job, o, opts)
	return step(s, o, func(b *builder, down func(Out)) func(In) {
		t, k := b.task, newKeyed(b, uid, typ)
		c := Ctx[S, Out]{&cell[S, Out]{task: t, down: down, keyed: k}}
		f := make()
		return func(v In) {
			if k.load(t) {
				f(c, v)
			}
		}
	})
}

// Reduce combines the values of a key: the first is the key's state, then
// f(state, value) is. The state after each value goes on.
func Reduce[T any](s Stream[T], uid string, f func(a, b T) T, opts ...StateOption) Stream[T] {
	if f == nil {
		s.job.errorf("Reduce %q: the function is nil", uid)
	}
	return ReducePer(s, uid, func() func(a, b T) (T, error) {
		return func(a, b T) (T, error) { return f(a, b), nil }
	}, opts...)
}

// ReducePer is [Reduce] for a function that owns scratch space or can fail;
// its error makes the record bad. make is called once per task, and may be
// called by several goroutines at once.
func ReducePer[T any](s Stream[T], uid string, make func() func(a, b T) (T, error), opts ...StateOption) Stream[T] {
	o := &op{kind: opReduce, name: uid}
	if make == nil {
		s.job.errorf("%v: the function is nil", o)
	}
	typ := stateType[T](s.job, o, opts)
	return step(s, o, func(b *builder, down func(T)) func(T) {
		t, k := b.task, newKeyed(b, uid, typ)
		f := make()
		return func(v T) {
			if !k.load(t) {
				return
			}
			if state, ok := k.store.Get(k.entry); ok {
				var err error
				if v, err = f(state, v); err != nil {
					t.fail(err)
				}
			}
			if t.failure == nil {
				k.set(t, v)
			}
			if t.failure == nil {
				down(v)
			}
		}
	})
}

// stateType chooses the state's type and notes its schema for the plan.
func stateType[S any](j *Job, o *op, opts []StateOption) kstate.Type[S] {
	var set stateSettings
	for _, opt := range opts {
		opt.state(&set)
	}
	if set.typ == nil {
		st := codec.State[S]()
		if err := st.Check(); err != nil {
			j.errorf("%v: %w", o, err)
			return nil
		}
		set.typ = st
	}
	typ, ok := set.typ.(kstate.Type[S])
	if !ok {
		var v S
		j.errorf("%v: StateAs is for another type than the step's state, %T", o, v)
		return nil
	}
	o.schema = typ.Schema()
	return typ
}

// keyed is one step's hold on its store within a task.
type keyed[S any] struct {
	store *kstate.Store[S]
	entry *kstate.Entry[S] // of the current key
}

func newKeyed[S any](b *builder, uid string, typ kstate.Type[S]) *keyed[S] {
	k := &keyed[S]{store: kstate.NewStore(uid, typ, kstate.StoreOptions{Env: b.task.env.State})}
	b.addStore(uid, k.store)
	return k
}

// load finds the current key's entry. It is false if the record goes no further.
func (k *keyed[S]) load(t *Task) bool {
	key := t.meta.Key
	if key == nil {
		t.fail(ErrNullKey)
		return false
	}
	e, first, err := k.store.Load(key)
	if err != nil {
		t.halt(err)
		return false
	}
	if first && !t.checkPartition(key) {
		return false
	}
	k.entry = e
	return true
}

// set gives the current key a state. While isolated it is encoded here, so
// that a state that does not encode or is too large is this record's failure
// and not the commit's (P22).
func (k *keyed[S]) set(t *Task, v S) {
	k.store.Set(k.entry, v)
	if !t.isolated {
		return
	}
	b, err := k.store.Encoded(k.entry)
	if err == nil {
		err = t.checkSize(recordOverhead + 1 + len(t.meta.Key) + len(b))
	}
	if err != nil {
		t.fail(fmt.Errorf("state of %s: %w", k.store.UID(), err))
	}
}
