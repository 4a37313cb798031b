package control

import (
	"testing"
	"time"
)

// What is left of a savepoint's use, as its sources delete behind it.
func TestExpiry(t *testing.T) {
	b := newBench(t)
	b.fill(6)
	m := b.manifest(savepointA, 1, 3, 3, 3, 3)
	now := m.CreatedAt.Add(50 * time.Minute)
	p := b.plane(func(s *Settings) { s.Now = func() time.Time { return now } })
	check := func(what string, want Expiry, soon bool) {
		t.Helper()
		got, err := p.Expiry(b.context(), m)
		if err != nil || got != want || got.Soon() != soon {
			t.Errorf("%s: %+v, soon %v, %v; want %+v, %v", what, got, got.Soon(), err, want, soon)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.configure("events", retention, "-1"))
	check("kept for ever", Expiry{Left: Never, Kept: Never}, false)
	must(b.configure("events", retention, "7200000"))
	check("two hours", Expiry{Left: 70 * time.Minute, Kept: 2 * time.Hour}, false)
	must(b.configure("events", retention, "3600000"))
	check("one hour", Expiry{Left: 10 * time.Minute, Kept: time.Hour}, true)
	must(b.policy("events", "compact"))
	check("compacted", Expiry{Left: Never, Kept: Never}, false)
	must(b.cluster.DeleteRecords("events", 1, 3))
	check("deleted up to it", Expiry{Left: Never, Kept: Never}, false)
	must(b.cluster.DeleteRecords("events", 1, 5))
	must(b.cluster.DeleteRecords("events", 2, 4))
	check("deleted behind it", Expiry{Lost: 3, Left: Never, Kept: Never}, true)
	m.Sources[0].ID = "AAAAAAAAAAAAAAAAAAAAAA"
	check("another topic", Expiry{Left: Never, Kept: Never}, false)
}
