package savepoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func none(string) bool { return false }

func TestNewID(t *testing.T) {
	id := NewID(time.Date(2026, 11, 22, 12, 15, 30, 0, time.FixedZone("", 7200)), [2]byte{0x3f, 0x9c})
	if id != testID || !IsID(id) || IsID("latest") || IsID(id+"x") {
		t.Errorf("%q", id)
	}
}

func TestList(t *testing.T) {
	j := newJobOf(t, 1)
	l, _, _ := j.saveToDisk(t)
	ids := []string{testID, "20261122T101600Z-0001", "20261122T101700Z-0002", "20261122T101800Z-0003"}
	for _, id := range ids[1:] {
		_, err := j.save(t, l, id)
		must(t, err)
	}
	must(t, os.WriteFile(filepath.Join(l.path, ids[2], manifestName), []byte("{}"), 0o644))
	must(t, os.Mkdir(filepath.Join(l.path, "something-else"), 0o755))
	_, err := l.Begin("20261122T101900Z-0004", 1, testToken)
	must(t, err)
	entries, err := l.List(func(id string) bool { return id != ids[3] })
	must(t, err)
	if len(entries) != 4 {
		t.Fatalf("%+v", entries)
	}
	for i, e := range entries {
		if e.ID != ids[i] || (e.Err != nil) != (i == 2) || e.Claimed != (i != 3) || (e.Manifest == nil) != (i == 2) {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	if !errors.Is(entries[2].Err, ErrDamaged) {
		t.Errorf("%v", entries[2].Err)
	}
	// P14: unclaimed ones, damaged ones and those of other jobs are not the latest.
	if e := Latest(entries, "motion-alarm"); e == nil || e.ID != ids[1] {
		t.Errorf("latest: %+v", e)
	}
	if e := Latest(entries, "other"); e != nil {
		t.Errorf("latest of another job: %+v", e)
	}
	left, err := l.Unfinished()
	if err != nil || len(left) != 1 || left[0].ID != "20261122T101900Z-0004" || left[0].Attempt != 1 || left[0].Token != testToken {
		t.Errorf("unfinished: %+v, %v", left, err)
	}
	must(t, l.Discard(left[0].ID, left[0].Attempt))
	if left, err = l.Unfinished(); err != nil || len(left) != 0 {
		t.Errorf("after discarding: %+v, %v", left, err)
	}
}

func TestOpen(t *testing.T) {
	l, s, dir := newJobOf(t, 1).saveToDisk(t)
	if _, err := l.Open("20261122T101530Z-0000"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown id: %v", err)
	}
	if _, err := l.Open("../x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no id: %v", err)
	}
	if _, err := l.Find("motion"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "procd savepoints") {
		t.Errorf("neither: %v", err)
	}
	if _, err := OpenPath(filepath.Join(dir, "nothing")); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown path: %v", err)
	}
	if _, err := OpenPath(t.TempDir()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), manifestName) {
		t.Errorf("empty directory: %v", err)
	}
	// Evolution case 6: moved, copied and renamed.
	moved := filepath.Join(t.TempDir(), "before the upgrade")
	must(t, os.CopyFS(moved, os.DirFS(dir)))
	for _, name := range []string{moved, dir, testID} {
		got, err := l.Find(name)
		must(t, err)
		must(t, got.Verify(t.Context(), nil))
		if got.SHA256() != s.SHA256() {
			t.Errorf("%s: another manifest", name)
		}
		must(t, got.Close())
	}
	must(t, os.CopyFS(filepath.Join(l.path, "20261122T101530Z-0000"), os.DirFS(dir)))
	if _, err := l.Open("20261122T101530Z-0000"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), testID) {
		t.Errorf("under the id of another: %v", err)
	}
}

func TestRemove(t *testing.T) {
	l, s, dir := newJobOf(t, 1).saveToDisk(t)
	inUse := errors.New("generation 4 is not detached")
	err := l.Remove(testID, func(m *Manifest) error {
		if m.ID != s.Manifest().ID {
			t.Errorf("%+v", m)
		}
		return inUse
	})
	if !errors.Is(err, inUse) {
		t.Errorf("in use: %v", err)
	}
	must(t, s.Verify(t.Context(), nil))
	// A start that found it just before it was hidden keeps it.
	asked := 0
	err = l.Remove(testID, func(*Manifest) error {
		if asked++; asked == 1 {
			return nil
		}
		if _, err := l.Open(testID); !errors.Is(err, ErrNotFound) {
			t.Errorf("asked again while it can be found: %v", err)
		}
		return inUse
	})
	if !errors.Is(err, inUse) || asked != 2 {
		t.Errorf("in use by then: %v, asked %d times", err, asked)
	}
	must(t, s.Verify(t.Context(), nil))
	must(t, os.Remove(filepath.Join(dir, manifestName)))
	must(t, l.Remove(testID, func(m *Manifest) error {
		if m != nil {
			t.Errorf("manifest of a savepoint without one: %+v", m)
		}
		return nil
	}))
	wantNone(t, l)
	// The rest of a removal that crashed.
	must(t, os.MkdirAll(filepath.Join(l.path, goneDir(testID, 0), "stores"), 0o755))
	must(t, l.Remove(testID, func(*Manifest) error { return nil }))
	wantNone(t, l)
	if err := l.Remove(testID, func(*Manifest) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	// One that crashed right after the savepoint was hidden: it may be in use.
	l, s, dir = newJobOf(t, 1).saveToDisk(t)
	for range 2 { // once put back, it is whole
		must(t, os.Rename(dir, filepath.Join(filepath.Dir(dir), goneDir(testID, 0))))
		if err := l.Remove(testID, func(*Manifest) error { return inUse }); !errors.Is(err, inUse) {
			t.Errorf("cut short, and in use: %v", err)
		}
		must(t, s.Verify(t.Context(), nil))
	}
	must(t, l.hide(testID, goneDir(testID, 0)))
	must(t, l.Remove(testID, func(*Manifest) error { return nil }))
	wantNone(t, l)
	if err := l.Remove("..", func(*Manifest) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("no id: %v", err)
	}
}

// What a Dir reaches is what it is a directory of.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "sub/file"), []byte("x"), 0o644))
	must(t, os.Symlink("file", filepath.Join(dir, "link")))
	must(t, os.Symlink("sub", filepath.Join(dir, "dirlink")))
	must(t, mkfifo(filepath.Join(dir, "pipe")))
	d := openDir(t, dir)
	for _, name := range []string{"link", "dirlink", "dirlink/file", "pipe", "sub"} {
		if _, err := d.Open(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("open %s: %v", name, err)
		}
	}
	if _, err := d.Open("../" + filepath.Base(dir) + "/file"); err == nil {
		t.Error("a name led outside")
	}
	if _, err := d.List("dirlink"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("list: %v", err)
	}
	if _, err := d.Create("dirlink/new"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("create: %v", err)
	}
	if err := d.MkdirAll("dirlink/new"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("mkdir: %v", err)
	}
	if _, err := d.Create("file"); !errors.Is(err, os.ErrExist) {
		t.Errorf("create what is there: %v", err)
	}
	if f, err := d.Open("sub/file"); err != nil {
		t.Error(err)
	} else {
		must(t, f.Close())
	}
}

func TestListOfNothing(t *testing.T) {
	l, err := OpenLocation(filepath.Join(t.TempDir(), "a", "b"))
	must(t, err)
	entries, err := l.List(none)
	if err != nil || len(entries) != 0 || Latest(entries, "x") != nil {
		t.Errorf("%v, %v", entries, err)
	}
	must(t, l.Close())
}
