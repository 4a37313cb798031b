package topology

import (
	"math/rand/v2"
	"testing"
)

// recent against a plain list, through bursts that fill and empty it.
func TestRecent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w recent
	var list []bool
	for i := range 20_000 {
		bad := rng.IntN(10) < i/2000
		w.add(bad)
		if list = append(list, bad); len(list) > recentSize {
			list = list[1:]
		}
		n := 0
		for _, b := range list {
			if b {
				n++
			}
		}
		if w.bad != n || w.tooMany() != (n > 500) {
			t.Fatalf("record %d: %d bad, tooMany %v; want %d", i, w.bad, w.tooMany(), n)
		}
	}
	for range recentSize {
		w.add(false)
	}
	if w.bad != 0 {
		t.Errorf("%d bad after %d good ones", w.bad, recentSize)
	}
}

// A burst's memory goes back, bit by bit, once it is not needed.
func TestArenaShrinks(t *testing.T) {
	var a arena
	for range 40 {
		a.end(append(a.begin(), make([]byte, chunkSize/2)...))
	}
	most := len(a.chunks)
	for range 2 * most {
		a.reset()
		a.end(append(a.begin(), 1))
	}
	if most < 10 || len(a.chunks) != 1 {
		t.Errorf("%d chunks, then %d", most, len(a.chunks))
	}
}
