package savepoint

import (
	"io"
	"io/fs"
)

// FS is the file system below one directory, as far as savepoints need it.
// Names are relative and separated by slashes; "." is the directory itself.
// [Dir] is the disk; tests pass one that fails and crashes.
type FS interface {
	// Open opens a regular file to read. Anything else is [ErrNotRegular].
	Open(name string) (ReadFile, error)
	// Create makes a file to write; an error if there is something already.
	Create(name string) (NewFile, error)
	// MkdirAll makes a directory and those above it.
	MkdirAll(name string) error
	// List returns what is in a directory, sorted by name.
	List(name string) ([]fs.FileInfo, error)
	// Lstat describes a file or directory without following a link.
	Lstat(name string) (fs.FileInfo, error)
	// Rename renames a file or directory. Onto a directory that is not empty it
	// is an error.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(name string) error
	// RemoveAll removes a file or directory with all that is in it.
	RemoveAll(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
}

// ReadFile is a file to read.
type ReadFile interface {
	io.Reader
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// NewFile is a file to write.
type NewFile interface {
	io.Writer
	io.Closer
	// Sync makes the content durable.
	Sync() error
}
