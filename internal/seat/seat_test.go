package seat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func take(t *testing.T, dir string) *Seat {
	t.Helper()
	s, err := Take(dir, "job")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Release() })
	return s
}

func TestP3LowestFreeSeat(t *testing.T) {
	dir := t.TempDir()
	first, second, third := take(t, dir), take(t, dir), take(t, dir)
	for i, s := range []*Seat{first, second, third} {
		if want := filepath.Join(dir, "job", "seat-"+string(rune('0'+i))); s.Dir() != want {
			t.Errorf("seat %d is %s, want %s", i, s.Dir(), want)
		}
	}
	if first.ID() == second.ID() {
		t.Errorf("two seats are both %s", first.ID())
	}
	id := second.ID()
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
	if again := take(t, dir); again.Dir() != second.Dir() || again.ID() != id {
		t.Errorf("took %s as %s, want %s as %s", again.Dir(), again.ID(), second.Dir(), id)
	}
}

func TestP3Names(t *testing.T) {
	dir := t.TempDir()
	s := take(t, dir)
	if got, want := s.InstanceID(3), "procd.job."+s.ID()+".3"; got != want {
		t.Errorf("instance id %s, want %s", got, want)
	}
	if !identityPattern.MatchString(s.ID()) {
		t.Errorf("identity %q", s.ID())
	}
	if got, want := s.StoreDir(2, "arm", 5), filepath.Join(dir, "job", "seat-0", "g2", "arm", "5"); got != want {
		t.Errorf("store directory %s, want %s", got, want)
	}
}

func TestP4RenewKeepsStores(t *testing.T) {
	dir := t.TempDir()
	s := take(t, dir)
	old := s.ID()
	store := s.StoreDir(1, "arm", 0)
	if err := os.MkdirAll(store, 0o755); err != nil {
		t.Fatal(err)
	}
	renewed, err := s.Renew(old)
	if err != nil || renewed == old || s.ID() != renewed {
		t.Fatalf("renewed to %q (was %q), seat says %q, %v", renewed, old, s.ID(), err)
	}
	// Every worker of the process was fenced: the second one must not renew again.
	if again, err := s.Renew(old); err != nil || again != renewed {
		t.Errorf("second worker got %q, want %q, %v", again, renewed, err)
	}
	if _, err := os.Stat(store); err != nil {
		t.Error(err)
	}
	s.Release()
	if back := take(t, dir); back.ID() != renewed {
		t.Errorf("after a restart %q, want %q", back.ID(), renewed)
	}
}

func TestDamagedIdentityIsReplaced(t *testing.T) {
	dir := t.TempDir()
	s := take(t, dir)
	s.Release()
	if err := os.WriteFile(filepath.Join(s.Dir(), "identity"), []byte("half\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := take(t, dir); !identityPattern.MatchString(s.ID()) {
		t.Errorf("identity %q", s.ID())
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := take(t, dir)
	s.Release()
	store := s.StoreDir(1, "arm", 0)
	if err := os.MkdirAll(store, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), "FORMAT"), []byte("2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(dir, "job"); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("Take: got %v", err)
	}
	if err := Wipe(dir, "job"); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("Wipe: got %v", err)
	}
	if _, err := os.Stat(store); err != nil {
		t.Errorf("touched what a newer procd wrote: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), "FORMAT"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(dir, "job"); err == nil || errors.Is(err, ErrNewerFormat) {
		t.Errorf("garbage: got %v", err)
	}
}

// A file where the directory should be fails for root too, whom no mode stops.
func TestNotWritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(dir, "job"); !errors.Is(err, ErrNotWritable) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("got %v", err)
	}
}

func TestPruneKeepsWhatIsNamed(t *testing.T) {
	s := take(t, t.TempDir())
	for g := 1; g <= 3; g++ {
		if err := os.MkdirAll(s.StoreDir(g, "arm", 0), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.Dir(), "gold"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keep []int
		want string
	}{
		{[]int{3, 2}, "FORMAT LOCK g2 g3 gold identity"}, // P15
		{[]int{2}, "FORMAT LOCK g2 gold identity"},
	} {
		if err := s.Prune(c.keep...); err != nil {
			t.Fatal(err)
		}
		if got := names(t, s.Dir()); got != c.want {
			t.Errorf("left: %s, want %s", got, c.want)
		}
	}
}

func TestWipe(t *testing.T) {
	dir := t.TempDir()
	if err := Wipe(dir, "job"); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	s := take(t, dir)
	if err := os.MkdirAll(s.StoreDir(1, "arm", 0), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Wipe(dir, "job"); !errors.Is(err, ErrInUse) {
		t.Errorf("seat in use: got %v", err)
	}
	if got := names(t, s.Dir()); got != "FORMAT LOCK g1 identity" {
		t.Errorf("wiped a seat in use: %s", got)
	}
	s.Release()
	if err := Wipe(dir, "job"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s.Dir()); got != "FORMAT LOCK identity" {
		t.Errorf("left: %s", got)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}
