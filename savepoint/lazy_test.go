package savepoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A location that is only read is not made; the first attempt makes it.
func TestLocationAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "yet")
	loc := LocationAt(path)
	defer func() { must(t, loc.Close()) }()
	const id = "20261122T101530Z-3f9c"
	if entries, err := loc.List(func(string) bool { return true }); err != nil || len(entries) != 0 {
		t.Errorf("list of a missing location: %v, %v", entries, err)
	}
	if _, err := loc.Find(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("find in a missing location: %v", err)
	}
	if _, err := loc.Join(id, 1, "token"); !errors.Is(err, ErrNotShared) {
		t.Errorf("join in a missing location: %v", err)
	}
	if err := loc.Remove(id, func(*Manifest) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove from a missing location: %v", err)
	}
	if err := loc.Discard(id, 1); err != nil {
		t.Errorf("discard in a missing location: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made the location: %v", err)
	}
	a, err := loc.Begin(id, 1, "token")
	must(t, err)
	if _, err := loc.Join(id, 1, "token"); err != nil {
		t.Errorf("join after the begin: %v", err)
	}
	must(t, a.Abort())
}

// A directory that was removed, or replaced, is one that can be used again.
func TestLocationIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "savepoints")
	loc := LocationAt(path)
	defer func() { must(t, loc.Close()) }()
	const id = "20261122T101530Z-3f9c"
	for attempt := 1; attempt <= 3; attempt++ {
		a, err := loc.Begin(id, attempt, "token")
		must(t, err)
		must(t, os.RemoveAll(path))
		if attempt == 2 {
			must(t, os.Mkdir(path, 0o755))
		}
		if _, err := a.Complete(t.Context(), &Manifest{ID: id}, "a job"); err == nil {
			t.Error("a directory that is gone was completed")
		}
		must(t, a.Abort())
	}
	must(t, os.WriteFile(path, nil, 0o644))
	if _, err := loc.Begin(id, 4, "token"); err == nil {
		t.Error("a file is no location")
	}
}
