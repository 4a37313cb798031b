package kstate

import (
	"errors"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"
)

// lateSync is the file system of a directory that is being filled. What is
// written to it may be lost in a crash until settle has returned; from then on
// it is a file system like any other. Filling a directory takes a hundred syncs,
// one after the other, and none of them matters before the last.
type lateSync struct {
	vfs.FS
	on atomic.Bool
}

// syncsAtOnce bounds how many files settle syncs at the same time. A journaling
// file system makes one write of many that come together.
const syncsAtOnce = 16

// lockFile is Pebble's. Closing any handle of it would unlock it.
const lockFile = "LOCK"

// settle makes all files of a directory and their names durable.
func (s *lateSync) settle(dir string) error {
	// From here on files sync by themselves; those that were made before are
	// in the list.
	s.on.Store(true)
	names, err := s.FS.List(dir)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(syncsAtOnce)
	for _, name := range names {
		if name != lockFile {
			group.Go(func() error { return s.sync(s.FS.PathJoin(dir, name)) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return syncDir(s.FS, dir)
}

func (s *lateSync) sync(path string) error {
	f, err := s.FS.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // Pebble has no use for it any more
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lateFile is a file, or a directory, of a lateSync.
type lateFile struct {
	vfs.File
	fs *lateSync
}

func (s *lateSync) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return lateFile{f, s}, nil
}

// Sync only asks for the content to be written soon, so that settle finds
// little to wait for.
func (f lateFile) Sync() error {
	if f.fs.on.Load() {
		return f.File.Sync()
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		_, err = f.SyncTo(info.Size())
	}
	return err
}

// SyncData is as Sync.
func (f lateFile) SyncData() error {
	if f.fs.on.Load() {
		return f.File.SyncData()
	}
	return f.Sync()
}

// Create makes a file, which is synced late.
func (s *lateSync) Create(name string, why vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.Create(name, why))
}

// OpenReadWrite opens a file, which is synced late.
func (s *lateSync) OpenReadWrite(name string, why vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.OpenReadWrite(name, why, o...))
}

// ReuseForWrite opens a file under another name; it is synced late.
func (s *lateSync) ReuseForWrite(old, name string, why vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.ReuseForWrite(old, name, why))
}

// OpenDir opens a directory, which is synced late.
func (s *lateSync) OpenDir(name string) (vfs.File, error) { return s.file(s.FS.OpenDir(name)) }

// Unwrap is the file system beneath.
func (s *lateSync) Unwrap() vfs.FS { return s.FS }
