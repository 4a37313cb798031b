package kstate

import (
	"errors"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A directory is open once while anybody has it open, and can be made anew
// after the last one closed it.
func TestDirectoriesAreShared(t *testing.T) {
	fs := &sharedDirs{FS: vfs.Default, open: map[string]*sharedDir{}}
	dir := t.TempDir() + "/store"
	for range 2 {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		before := openFiles(t)
		var handles []vfs.File
		for range 5 {
			f, err := fs.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			handles = append(handles, f)
		}
		if n := openFiles(t) - before; n != 1 {
			t.Errorf("%d files for 5 handles, want 1", n)
		}
		for _, f := range handles {
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			_ = f.Close() // again: no other handle is closed by it
		}
		if n := openFiles(t) - before; n != 0 || len(fs.open) != 0 {
			t.Errorf("%d files and %d directories are left", n, len(fs.open))
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fs.OpenDir(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is gone: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	return len(fds)
}
