package kstate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// model is what a store must be: a map of what is committed, of what this
// transaction sees, and of what it saw when the record began. Values are
// decoded from bytes whenever they cross over, so nothing can share memory.
type model[S any] struct {
	committed, txn, record map[string]S
	clone                  func(S) S
}

func cloneMap[S any](m map[string]S, clone func(S) S) map[string]S {
	c := make(map[string]S, len(m))
	for k, v := range m {
		c[k] = clone(v)
	}
	return c
}

// machine drives a store and a model with the same random operations.
type machine[S any] struct {
	t     *testing.T
	rng   *rand.Rand
	env   *Env
	typ   Type[S]
	store *Store[S]
	log   *changelog
	model model[S]
	now   time.Time

	attached bool // deletes are markers (P16)

	random func(*rand.Rand) S // a new value
	mutate func(*S)           // changes a value in place
}

func (m *machine[S]) key() []byte {
	return fmt.Appendf(nil, "key-%d", m.rng.IntN(40))
}

func (m *machine[S]) load(key []byte) *Entry[S] {
	e, _, err := m.store.Load(key)
	if err != nil {
		m.t.Fatal(err)
	}
	return e
}

func (m *machine[S]) check(key []byte) *Entry[S] {
	e := m.load(key)
	got, ok := m.store.Get(e)
	want, has := m.model.txn[string(key)]
	if ok != has || (has && !reflect.DeepEqual(got, want)) {
		m.t.Fatalf("Get(%s) = %v, %v; want %v, %v", key, got, ok, want, has)
	}
	return e
}

func (m *machine[S]) set() {
	key, v := m.key(), m.random(m.rng)
	m.store.Set(m.load(key), v)
	m.model.txn[string(key)] = m.model.clone(v)
}

// update is what operators do: get, change in place, set.
func (m *machine[S]) update() {
	key := m.key()
	e := m.check(key)
	v, ok := m.store.Get(e)
	if !ok {
		return
	}
	m.mutate(&v)
	m.store.Set(e, v)
	m.model.txn[string(key)] = m.model.clone(v)
}

func (m *machine[S]) clear() {
	key := m.key()
	m.store.Clear(m.load(key))
	delete(m.model.txn, string(key))
}

func (m *machine[S]) begin() {
	m.store.BeginRecord()
	m.model.record = cloneMap(m.model.txn, m.model.clone)
}

func (m *machine[S]) rollback() {
	switch err := m.store.Rollback(); err {
	case nil:
		m.model.txn = m.model.record
		m.begin()
	case ErrIsolate:
		if m.store.mode != decodes {
			m.t.Fatal("ErrIsolate from a type that can be copied")
		}
		m.abort()
	default:
		m.t.Fatal(err)
	}
}

func (m *machine[S]) commit() {
	commit(m.t, m.store, m.log)
	m.model.committed = m.model.txn
	m.endTxn()
	m.peek()
}

func (m *machine[S]) abort() {
	if m.rng.IntN(2) == 0 { // an abort after Changes is one, too
		if err := m.store.Changes(func(_, _ []byte) error { return nil }); err != nil {
			m.t.Fatal(err)
		}
	}
	m.store.Abort()
	m.endTxn()
}

func (m *machine[S]) endTxn() {
	m.model.txn = cloneMap(m.model.committed, m.model.clone)
	m.begin()
}

func (m *machine[S]) tick() {
	m.now = m.now.Add(time.Duration(m.rng.IntN(4)) * time.Second)
	if err := m.store.Tick(m.now, m.now); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine[S]) flush() {
	if err := m.store.Flush(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine[S]) reopen() {
	closeStore(m.t, m.store, m.rng.IntN(2) == 0)
	if m.rng.IntN(5) == 0 {
		if err := m.env.fs.RemoveAll(testDir); err != nil {
			m.t.Fatal(err)
		}
	}
	m.open()
}

func (m *machine[S]) open() {
	m.store = openStore(m.t, m.env, m.typ, m.log)
	m.store.attached = m.attached
	m.endTxn()
}

func (m *machine[S]) compareAll() {
	got := all(m.t, m.store)
	if !reflect.DeepEqual(got, m.model.txn) {
		m.t.Fatalf("content:\n got %v\nwant %v", got, m.model.txn)
	}
}

// peek looks between transactions, and is refused within one.
func (m *machine[S]) peek() {
	key := m.key()
	value, err := m.store.Peek(key)
	if m.store.Dirty() > 0 {
		if !errors.Is(err, ErrOrder) {
			m.t.Fatalf("Peek within a transaction: %v", err)
		}
		return
	}
	want, has := m.model.committed[string(key)]
	if err != nil || (value != nil) != has {
		m.t.Fatalf("Peek(%s) = %x, %v; want %v, %v", key, value, err, want, has)
	}
	if !has {
		return
	}
	var got S
	if err := m.store.decode(value, &got); err != nil || !reflect.DeepEqual(got, want) {
		m.t.Fatalf("Peek(%s) = %v, %v; want %v", key, got, err, want)
	}
}

func (m *machine[S]) step() {
	steps := []struct {
		weight int
		do     func()
	}{
		{30, m.set}, {30, m.update}, {10, m.clear}, {20, func() { m.check(m.key()) }},
		{25, m.begin}, {5, m.rollback}, {8, m.commit}, {4, m.abort}, {10, m.tick},
		{1, m.flush}, {1, m.reopen}, {1, m.compareAll}, {10, m.peek},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := m.rng.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.do()
			return
		}
	}
}

func runModel[S any](t *testing.T, typ Type[S], clone func(S) S, random func(*rand.Rand) S, mutate func(*S)) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			// Half of the runs have no memory to speak of: everything that is
			// clean is evicted at once.
			env := newTestEnv(t, EnvOptions{WriteBackBytes: 1 + int64(seed%2)<<30})
			m := &machine[S]{
				t: t, rng: rand.New(rand.NewPCG(seed, 1)), env: env, typ: typ, log: &changelog{},
				now: testStart, attached: seed%4 < 2, random: random, mutate: mutate,
			}
			m.model = model[S]{committed: map[string]S{}, clone: clone}
			m.open()
			for range 3000 {
				m.step()
			}
			m.compareAll()
			m.commit()
			m.compareLog()
			closeStore(t, m.store, true)
		})
	}
}

// compareLog checks that the changelog alone gives the committed state.
func (m *machine[S]) compareLog() {
	got := slices.Sorted(maps.Keys(m.log.content(m.log.end())))
	want := slices.Sorted(maps.Keys(m.model.committed))
	if !slices.Equal(got, want) {
		m.t.Fatalf("keys of the changelog:\n got %v\nwant %v", got, want)
	}
}

func TestStoreAgainstMap(t *testing.T) {
	randomList := func(r *rand.Rand) list {
		l := list{}
		for range r.IntN(5) {
			l.Items = append(l.Items, r.Int64N(1000))
		}
		return l
	}
	grow := func(l *list) {
		for i := range l.Items {
			l.Items[i]++
		}
		l.Items = append(l.Items, 7)
	}
	t.Run("assigned", func(t *testing.T) {
		runModel(t, counterType{}, func(c counter) counter { return c },
			func(r *rand.Rand) counter { return counter{r.Int64N(1 << r.IntN(62)), fmt.Sprint(r.IntN(100))} },
			func(c *counter) { c.N++ })
	})
	t.Run("copied", func(t *testing.T) { runModel(t, listType{deep: true}, list.clone, randomList, grow) })
	t.Run("decoded", func(t *testing.T) { runModel(t, listType{}, list.clone, randomList, grow) })
}
