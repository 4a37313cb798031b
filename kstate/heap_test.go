package kstate

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Entries whose committed bytes come, grow, shrink and go keep theirs and
// nobody else's, and what is given back is used again.
func TestIndexBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 8))
	x := newIndex[int]()
	random := func(n int) []byte {
		b := make([]byte, rng.IntN(n))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	type content struct{ key, value []byte }
	model := map[*Entry[int]]content{}
	check := func(e *Entry[int], want content) {
		if !bytes.Equal(x.key(e), want.key) || !bytes.Equal(x.encoded(e), want.value) {
			t.Fatalf("entry %d: %q %q, want %q %q", e.number, x.key(e), x.encoded(e), want.key, want.value)
		}
	}
	for range 20_000 {
		key := random(40)
		e := x.find(x.hash(key), key)
		switch {
		case e == nil:
			e = x.take()
			value := random(60)
			if rng.IntN(2) == 0 {
				value = nil
			}
			x.setEncoded(e, value) // as read from the disk
			x.insert(x.hash(key), e, key)
			model[e] = content{key, value}
		case rng.IntN(2) == 0:
			x.remove(e)
			x.give(e)
			delete(model, e)
		}
		for e, c := range model { // any one
			check(e, c)
			if rng.IntN(3) > 0 {
				limit := 100
				if rng.IntN(50) == 0 {
					limit = 5000
				}
				c.value = random(limit)
				x.setEncoded(e, c.value)
				model[e] = c
			}
			break
		}
		if len(model) > 200 {
			for e, c := range model {
				check(e, c)
				x.remove(e)
				x.give(e)
				delete(model, e)
			}
		}
	}
	for e, c := range model {
		check(e, c)
	}
	if n := len(x.heap.data.chunks); n > 40 {
		t.Errorf("the heap has %d chunks: nothing is used again", n)
	}
}

// What there is per key holds no pointers unless the value does: the garbage
// collector must not walk millions of keys.
func TestNoPointersPerKey(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Entry[int64]](), reflect.TypeFor[slot](), reflect.TypeFor[ref](), reflect.TypeFor[sortedRef]()} {
		if !assignable(typ) || hasString(typ) {
			t.Errorf("%v holds pointers", typ)
		}
	}
	if size := reflect.TypeFor[Entry[int64]]().Size(); size > 64 {
		t.Errorf("an entry takes %d bytes, more than a cache line", size)
	}
}

func hasString(t reflect.Type) bool {
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if hasString(t.Field(i).Type) {
				return true
			}
		}
	}
	return t.Kind() == reflect.String
}
