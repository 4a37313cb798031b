package savepoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// LocationAt is the directory at a path, which need not exist: whoever only
// reads finds no savepoints in it then, and the first savepoint makes it. Close
// it.
func LocationAt(path string) *Location {
	d := &lazyDir{path: path}
	return &Location{fs: d, path: path, close: d.close}
}

// lazyDir is a directory of the disk that is opened at its first use, and made
// by the first MkdirAll. A process of a job lives long: if the directory was
// removed or mounted over meanwhile, what counts is what is at the path now.
type lazyDir struct {
	path string

	mu   sync.Mutex
	root *Dir   // nil: not opened yet
	old  []*Dir // not at the path any more, but perhaps in use
}

// open opens the directory. While it is missing the error is fs.ErrNotExist.
func (d *lazyDir) open() (*Dir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.root != nil {
		if d.root.isAt(d.path) {
			return d.root, nil
		}
		d.old = append(d.old, d.root)
		d.root = nil
	}
	root, err := OpenDir(d.path)
	if err == nil {
		d.root = root
	}
	return root, err
}

func (d *lazyDir) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.root != nil {
		err = d.root.Close()
	}
	for _, root := range d.old {
		err = errors.Join(err, root.Close())
	}
	return err
}

// Open opens a regular file.
func (d *lazyDir) Open(name string) (ReadFile, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	return root.Open(name)
}

// Create makes a file.
func (d *lazyDir) Create(name string) (NewFile, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	return root.Create(name)
}

// MkdirAll makes a directory and those above it, the location itself too.
func (d *lazyDir) MkdirAll(name string) error {
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return fmt.Errorf("procd/savepoint: make savepoint location: %w", err)
	}
	root, err := d.open()
	if err != nil {
		return err
	}
	return root.MkdirAll(name)
}

// List returns what is in a directory; nothing while the location is missing.
func (d *lazyDir) List(name string) ([]fs.FileInfo, error) {
	root, err := d.open()
	if name == "." && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return root.List(name)
}

// Lstat describes a file or directory.
func (d *lazyDir) Lstat(name string) (fs.FileInfo, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	return root.Lstat(name)
}

// Rename renames a file or directory.
func (d *lazyDir) Rename(from, to string) error {
	root, err := d.open()
	if err != nil {
		return err
	}
	return root.Rename(from, to)
}

// Remove removes a file.
func (d *lazyDir) Remove(name string) error {
	root, err := d.open()
	if err != nil {
		return err
	}
	return root.Remove(name)
}

// RemoveAll removes a file or directory with all that is in it.
func (d *lazyDir) RemoveAll(name string) error {
	root, err := d.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.RemoveAll(name)
}

// SyncDir makes the names in a directory durable.
func (d *lazyDir) SyncDir(name string) error {
	root, err := d.open()
	if err != nil {
		return err
	}
	return root.SyncDir(name)
}
