package savepoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Dir is a directory of the disk. Nothing outside of it can be reached through
// it, and links inside are not followed. It is safe for concurrent use.
type Dir struct {
	root *os.Root
}

// OpenDir opens a directory of the disk. Close it.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("procd/savepoint: open directory: %w", err)
	}
	return &Dir{root}, nil
}

// Close closes the directory; open files stay open.
func (d *Dir) Close() error { return d.root.Close() }

// isAt reports whether path leads to this directory; true where that cannot be
// found out.
func (d *Dir) isAt(path string) bool {
	there, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	here, err := d.root.Stat(".")
	return err != nil || os.SameFile(there, here)
}

// Open opens a regular file.
func (d *Dir) Open(name string) (ReadFile, error) {
	before, err := d.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s", ErrNotRegular, name)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = fmt.Errorf("%w: %s was replaced while it was opened", ErrNotRegular, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Create makes a file.
func (d *Dir) Create(name string) (NewFile, error) {
	if err := d.noLinks(path.Dir(name)); err != nil {
		return nil, err
	}
	return d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

// MkdirAll makes a directory and those above it.
func (d *Dir) MkdirAll(name string) error {
	if err := d.root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	return d.noLinks(name)
}

// List returns what is in a directory, sorted by name.
func (d *Dir) List(name string) ([]fs.FileInfo, error) {
	if err := d.noLinks(name); err != nil {
		return nil, err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	infos := make([]fs.FileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := d.root.Lstat(path.Join(name, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return infos, nil
}

// Lstat describes a file or directory.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) {
	if err := d.noLinks(path.Dir(name)); err != nil {
		return nil, err
	}
	return d.root.Lstat(name)
}

// noLinks refuses a directory that is reached through a link: os.Root only
// refuses those that lead outside.
func (d *Dir) noLinks(name string) error {
	if name == "." {
		return nil
	}
	if err := d.noLinks(path.Dir(name)); err != nil {
		return err
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s", ErrNotRegular, name)
	}
	return nil
}

// Rename renames a file or directory.
func (d *Dir) Rename(from, to string) error { return d.root.Rename(from, to) }

// Remove removes a file.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// RemoveAll removes a file or directory with all that is in it.
func (d *Dir) RemoveAll(name string) error { return d.root.RemoveAll(name) }

// SyncDir makes the names in a directory durable.
func (d *Dir) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
