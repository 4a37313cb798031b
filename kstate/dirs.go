package kstate

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sharedDirs opens a directory once however often it is opened: a database
// keeps its own open five times, which with hundreds of stores would be most of
// the process's files.
type sharedDirs struct {
	vfs.FS
	mu   sync.Mutex
	open map[string]*sharedDir
}

// sharedDir is an open directory.
type sharedDir struct {
	vfs.File
	name string
	refs int
}

// OpenDir returns a handle of its own of a directory that may be open.
func (s *sharedDirs) OpenDir(name string) (vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.open[name]
	if d == nil {
		f, err := s.FS.OpenDir(name)
		if err != nil {
			return nil, err
		}
		d = &sharedDir{File: f, name: name}
		s.open[name] = d
	}
	d.refs++
	return &dirHandle{sharedDir: d, fs: s}, nil
}

// Unwrap is the file system beneath.
func (s *sharedDirs) Unwrap() vfs.FS { return s.FS }

// dirHandle is one of the handles of an open directory.
type dirHandle struct {
	*sharedDir
	fs     *sharedDirs
	closed sync.Once
}

// Close closes the directory with its last handle.
func (h *dirHandle) Close() (err error) {
	h.closed.Do(func() {
		h.fs.mu.Lock()
		defer h.fs.mu.Unlock()
		if h.refs--; h.refs == 0 {
			delete(h.fs.open, h.name)
			err = h.File.Close()
		}
	})
	return err
}
