package cli

import (
	"runtime/debug"
	"testing"
)

// TestPace: the collector's pace is set, unless the environment says another.
func TestPace(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off") // leave the test's own limit alone
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for env, want := range map[string]int{"": gcPercent, "77": 100} {
		t.Setenv("GOGC", env)
		debug.SetGCPercent(100)
		divide(defaultMemory).apply()
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("GOGC=%q: %d %%, want %d", env, got, want)
		}
	}
}
