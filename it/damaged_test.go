package it

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// damage is one fault of a file in a savepoint.
type damage struct {
	file string // below the savepoint's directory
	kind string
	do   func(path string, random *rand.Rand) error
}

var damages = map[string]func(path string, random *rand.Rand) error{
	"flipped": func(path string, random *rand.Rand) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return os.WriteFile(path, []byte{0}, 0o644)
		}
		data[random.IntN(len(data))] ^= 1 << random.IntN(8)
		return os.WriteFile(path, data, 0o644)
	},
	"cut": func(path string, random *rand.Rand) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() == 0 {
			return os.Remove(path)
		}
		return os.Truncate(path, random.Int64N(info.Size()))
	},
	"removed": func(path string, _ *rand.Rand) error { return os.Remove(path) },
}

// someDamages are as many faults as wanted, every kind of fault and of file
// about as often.
func someDamages(dir string, wanted int, random *rand.Rand, table func(name string) bool) (chosen []damage, err error) {
	byKind := map[string][]string{} // of file: its extension, or its name up to the first digit
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kind := d.Name()
		if ext := filepath.Ext(kind); ext == ".sst" || ext == ".log" {
			kind = ext
		} else if i := strings.IndexAny(kind, "0123456789"); i > 0 {
			kind = kind[:i]
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && !(kind == ".sst" && !table(name)) {
			byKind[kind] = append(byKind[kind], name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	kinds := slices.Sorted(maps.Keys(byKind))
	faults := slices.Sorted(maps.Keys(damages))
	at := random.IntN(len(faults))
	for i := range wanted {
		files := byKind[kinds[i%len(kinds)]]
		fault := faults[(i/len(kinds)+i+at)%len(faults)]
		chosen = append(chosen, damage{files[random.IntN(len(files))], fault, damages[fault]})
	}
	return chosen, nil
}

// decided is all that a refused start must not change: what the control topic
// decides, which internal topics there are, and where the group stands.
func (j *job) decided() string {
	j.t.Helper()
	var b strings.Builder
	for _, r := range j.read("procd." + j.Name + ".control") {
		if key := string(r.Key); !strings.HasPrefix(key, "process/") {
			fmt.Fprintf(&b, "%s %s\n", key, r.Value)
		}
	}
	topics, err := j.kafka.TopicsOf(j.t.Context(), j.group()+".")
	must(j.t, err)
	fmt.Fprintln(&b, topics)
	at, err := j.committedAt()
	must(j.t, err)
	for _, p := range slices.Sorted(maps.Keys(at)) {
		fmt.Fprintln(&b, p, at[p])
	}
	return b.String()
}

// tree is what is in the files of a directory, locks aside.
func tree(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	return files, err
}

// TestDamagedSavepoint flips bits in the files of a savepoint, cuts and removes
// them. A start from it is refused and names the file, whether the state lies on
// this disk or not; nothing of the job has changed, which goes on where it was
// stopped.
func TestDamagedSavepoint(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{Partitions: 2, Template: tallying(1, 100*time.Millisecond)})
	j.watch()
	random := rand.New(rand.NewPCG(run.seed, 6))
	g := newGenerator(run.seed, 3000)
	j.produce(g.arm()...)
	c := newCrew(j, 1)
	c.startAll()
	j.waitOutput(g.rooms-1, time.Minute)
	first := &life{step: 1, saved: []taken{j.savepoint("savepoint-and-stop")}}
	c.left()
	dir := filepath.Join(filepath.Dir(j.file), "savepoints", first.saved[0].id)
	whole := filepath.Join(t.TempDir(), "whole")
	must(t, os.CopyFS(whole, os.DirFS(dir)))
	before := j.decided()
	live, err := tree(c.disks[0])
	must(t, err)

	attempt := func(d damage, disk string) {
		t.Helper()
		must(t, d.do(filepath.Join(dir, d.file), random))
		what := fmt.Sprintf("%s %s, start in %s", d.file, d.kind, filepath.Base(disk))
		p := j.startIn(disk, "--savepoint", first.saved[0].id)
		j.ended[p] = true
		want := 3
		if d.file == "manifest.json" && d.kind == "removed" {
			want = 4 // it is none
		}
		if code := j.ends(p, 20*time.Second); code != want {
			t.Errorf("%s: exit code %d: %s", what, code, p.Stderr.Tail(3))
		} else if !strings.Contains(p.Stderr.String(), d.file) {
			t.Errorf("%s: the file is not named: %s", what, p.Stderr.Tail(3))
		}
		if now := j.decided(); now != before {
			t.Fatalf("%s: the job has changed from\n%sto\n%s", what, before, now)
		}
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(whole)))
	}
	n := int(soak(10, 200))
	elsewhere, err := someDamages(dir, n, random, func(string) bool { return true })
	must(t, err)
	for i, d := range elsewhere {
		attempt(d, fmt.Sprintf("%s-empty-%d", j.data, i))
	}
	// Where the state is on this disk its tables are not read from the savepoint.
	here, err := someDamages(dir, n, random, func(string) bool { return false })
	must(t, err)
	for _, d := range here {
		attempt(d, c.disks[0])
	}
	now, err := tree(c.disks[0])
	must(t, err)
	if !maps.EqualFunc(live, now, bytes.Equal) {
		t.Errorf("the files of the live state have changed: %v, were %v", slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(live)))
	}

	c.startAll("--resume")
	feed := j.feed(g, feedRate)
	j.waitOutput(j.out.Count()+1000, time.Minute)
	must(t, feed.stop())
	c.rest([]*life{first})
}
