package kstate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Keys that share prefixes, are prefixes of each other, or differ only in
// trailing zeros come in the order of their bytes: Pebble takes sorted batches
// several times faster.
func TestJournalIsSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	for range 200 {
		j := &journal{gen: 1}
		seen := make(map[string]bool)
		prefix := randomKey(rng, 12)
		for range rng.IntN(50) {
			key := prefix + randomKey(rng, 12)
			if !seen[key] {
				seen[key] = true
				addTo(j, kindValue, key, nil)
			}
		}
		var got []string
		for _, r := range j.sorted(nil) {
			got = append(got, string(j.key(r.at)))
		}
		if len(got) != len(seen) || !slices.IsSorted(got) {
			t.Fatalf("%d keys in order %q", len(seen), got)
		}
	}
}

// randomKey has few different bytes, so that keys share much.
func randomKey(rng *rand.Rand, limit int) string {
	b := make([]byte, rng.IntN(limit))
	for i := range b {
		b[i] = byte(rng.IntN(2) * 255)
	}
	return string(b)
}
