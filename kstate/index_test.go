package kstate

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestIndexAgainstMap fills shards up to their limit and around their end: how
// full they are changes with the range of the keys.
func TestIndexAgainstMap(t *testing.T) {
	for _, keys := range []int{100, 500, 3000} {
		rng := rand.New(rand.NewPCG(uint64(keys), 4))
		x := newIndex[int]()
		model := make(map[string]*Entry[int])
		for range 20_000 {
			key := fmt.Append(nil, rng.IntN(keys))
			e := x.find(x.hash(key), key)
			if e != model[string(key)] {
				t.Fatalf("find(%s) = %v, want %v", key, e, model[string(key)])
			}
			if e == nil {
				e = x.take()
				x.insert(x.hash(key), e, key)
				model[string(key)] = e
			} else if rng.IntN(2) == 0 {
				x.remove(e)
				x.give(e)
				delete(model, string(key))
			}
		}
		n := 0
		x.all(func(e *Entry[int]) {
			n++
			if model[string(x.key(e))] != e {
				t.Errorf("all has %s", x.key(e))
			}
		})
		if n != len(model) || x.n != n {
			t.Errorf("%d entries, counted %d, want %d", n, x.n, len(model))
		}
	}
}
