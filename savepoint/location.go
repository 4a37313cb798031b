package savepoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Location is a directory that holds savepoints, one directory each, named by
// its id. It is safe for concurrent use.
type Location struct {
	fs    FS
	path  string // for messages
	close func() error
}

// OpenLocation opens a directory of the disk and makes it if it is missing.
// Close it.
func OpenLocation(path string) (*Location, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("procd/savepoint: make savepoint location: %w", err)
	}
	d, err := OpenDir(path)
	if err != nil {
		return nil, err
	}
	return &Location{fs: d, path: path, close: d.Close}, nil
}

// NewLocation is a location on another file system.
func NewLocation(fsys FS) *Location {
	return &Location{fs: fsys, path: "savepoint location", close: func() error { return nil }}
}

// Close closes the location. Savepoints that were opened from it are closed
// with it.
func (l *Location) Close() error { return l.close() }

// Entry is one savepoint of a list.
type Entry struct {
	ID string
	// Manifest is nil where Err is not.
	Manifest *Manifest
	// SHA256 is the manifest's checksum; see [Savepoint.SHA256].
	SHA256 string
	// Claimed says that the job knows the savepoint: it has a SAVED record.
	// Others were completed by an attempt whose coordinator could not say so
	// any more, and do not count as `latest` (P14).
	Claimed bool
	Err     error
}

// List returns all savepoints, oldest first. A damaged manifest is an entry
// with an error, not an error of the list. claimed says of an id whether there
// is a SAVED record for it.
func (l *Location) List(claimed func(id string) bool) ([]Entry, error) {
	infos, err := l.fs.List(".")
	if err != nil {
		return nil, fmt.Errorf("procd/savepoint: list %s: %w", l.path, err)
	}
	var entries []Entry
	for _, info := range infos {
		if !IsID(info.Name()) {
			continue
		}
		e := Entry{ID: info.Name(), Claimed: claimed(info.Name())}
		if s, err := l.Open(e.ID); err != nil {
			e.Err = err
		} else {
			e.Manifest, e.SHA256 = s.Manifest(), s.SHA256()
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Latest is the newest claimed savepoint of a job, as `latest` means it; nil if
// there is none. entries are in the order of List.
func Latest(entries []Entry, job string) *Entry {
	for i := len(entries) - 1; i >= 0; i-- {
		if e := &entries[i]; e.Claimed && e.Manifest != nil && e.Manifest.Job == job {
			return e
		}
	}
	return nil
}

// Open opens a savepoint by its id and reads its manifest. The error is
// [ErrNotFound], [ErrNewerFormat], or says what is damaged or invalid.
func (l *Location) Open(id string) (*Savepoint, error) {
	if !IsID(id) {
		return nil, fmt.Errorf("%w: %q in %s: an id looks like 20261122T101530Z-3f9c", ErrNotFound, id, l.path)
	}
	s, err := open(l.fs, id, id)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, l.path)
	}
	if s.manifest.ID != id {
		return nil, &DamageError{Savepoint: id, File: manifestName, Problem: "it belongs to savepoint " + s.manifest.ID}
	}
	return s, nil
}

// OpenPath opens the savepoint that a directory of the disk holds, whatever its
// name is. Close it.
func OpenPath(path string) (*Savepoint, error) {
	d, err := OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return nil, err
	}
	s, err := open(d, ".", path)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	s.close = d.Close
	return s, nil
}

// Find opens what a user names: an id in this location, or a path. `latest` is
// the caller's to resolve, with [Latest].
func (l *Location) Find(name string) (*Savepoint, error) {
	if IsID(name) {
		sp, err := l.Open(name)
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("%w; list them with procd savepoints, or say where they are with --savepoint-dir", err)
		}
		return sp, err
	}
	if !strings.ContainsRune(name, os.PathSeparator) && name != "." && name != ".." {
		if _, err := os.Lstat(name); err != nil {
			return nil, fmt.Errorf("%w: %q is neither an id in %s nor a directory; list them with procd savepoints", ErrNotFound, name, l.path)
		}
	}
	return OpenPath(name)
}

// Remove removes a savepoint, whether its files are well or not. mayGo is asked
// with the manifest, nil where it cannot be read, and can refuse: once before
// anything is touched, and again when nobody finds the savepoint any more. Then
// a refusal puts it back, so that whoever found it just before keeps it. A crash
// halfway leaves no savepoint; Remove again, or FinishRemoval, goes on there.
func (l *Location) Remove(id string, mayGo func(*Manifest) error) error {
	if _, err := l.fs.Lstat(id); !IsID(id) || errors.Is(err, fs.ErrNotExist) {
		return l.FinishRemoval(id, mayGo)
	}
	var m *Manifest
	if s, err := l.Open(id); err == nil {
		m = s.Manifest()
	}
	if err := mayGo(m); err != nil {
		return err
	}
	if err := l.hide(id, goneDir(id, 0)); err != nil {
		return err
	}
	return l.removeHidden(id, m, mayGo)
}

// FinishRemoval goes on with a removal that a crash has cut short. mayGo is asked
// as by Remove; what has no manifest any more goes unasked.
func (l *Location) FinishRemoval(id string, mayGo func(*Manifest) error) error {
	gone := goneDir(id, 0)
	if _, err := l.fs.Lstat(gone); !IsID(id) || err != nil {
		return fmt.Errorf("%w: %q in %s", ErrNotFound, id, l.path)
	}
	m := l.hidden(id)
	if m == nil {
		return l.removeDir(gone, gone)
	}
	return l.removeHidden(id, m, mayGo)
}

// hidden is the manifest of a savepoint that is being removed; nil if it is not
// there any more, or not well.
func (l *Location) hidden(id string) *Manifest {
	s, err := open(l.fs, goneDir(id, 0), id)
	if err != nil {
		return nil
	}
	return s.Manifest()
}

func (l *Location) removeHidden(id string, m *Manifest, mayGo func(*Manifest) error) error {
	gone := goneDir(id, 0)
	if err := mayGo(m); err != nil {
		return errors.Join(err, l.putBack(gone, id))
	}
	return l.removeDir(gone, gone)
}

// putBack gives a hidden savepoint its name back, unless somebody else has.
func (l *Location) putBack(gone, id string) error {
	err := l.fs.Rename(gone, id)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = l.fs.Lstat(id)
	}
	if err == nil {
		err = l.fs.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("procd/savepoint: put savepoint %s back: %w", id, err)
	}
	return nil
}

// Discard removes the unfinished attempts of an id up to a number. From then on
// none of them can complete; one that was faster is found by Open (P14).
func (l *Location) Discard(id string, through int) error {
	attempts, err := l.unfinished()
	if err != nil {
		return err
	}
	for _, a := range attempts {
		if a.ID != id || a.Attempt > through {
			continue
		}
		if err := l.Drop(a); err != nil {
			return err
		}
	}
	return nil
}

// Unfinished is what an attempt left that did not complete.
type Unfinished struct {
	ID      string
	Attempt int // 0: what is left of a savepoint that is, or was, being removed
	// Token is the attempt's; "" where there is none, or none any more.
	Token string
	// Job is whose savepoint is being removed; "" where its manifest is gone, or
	// of an attempt.
	Job string
	dir string
}

// Unfinished lists the attempts that are not complete: running now, of any job
// that uses the location, or left by a crash.
func (l *Location) Unfinished() ([]Unfinished, error) {
	found, err := l.unfinished()
	for i := range found {
		if found[i].Attempt == 0 {
			if m := l.hidden(found[i].ID); m != nil {
				found[i].Job = m.Job
			}
			continue
		}
		token, err := readAll(l.fs, path.Join(found[i].dir, tokenName), maxTokenBytes)
		if err == nil {
			found[i].Token = string(token)
		}
	}
	return found, err
}

func (l *Location) unfinished() ([]Unfinished, error) {
	infos, err := l.fs.List(".")
	if err != nil {
		return nil, fmt.Errorf("procd/savepoint: list %s: %w", l.path, err)
	}
	var found []Unfinished
	for _, info := range infos {
		if id, attempt, ok := parseTmp(info.Name()); ok {
			found = append(found, Unfinished{ID: id, Attempt: attempt, dir: info.Name()})
		}
	}
	return found, nil
}

// Drop removes what one attempt left.
func (l *Location) Drop(u Unfinished) error { return l.removeDir(u.dir, goneDir(u.ID, u.Attempt)) }

// removeDir removes a directory under another name, so that at no moment a part
// of it looks like the whole.
func (l *Location) removeDir(dir, gone string) error {
	if dir != gone {
		if err := l.hide(dir, gone); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if err := l.fs.RemoveAll(gone); err != nil {
		return fmt.Errorf("procd/savepoint: remove %s: %w", gone, err)
	}
	return nil
}

// hide gives a directory another name, for good.
func (l *Location) hide(dir, as string) error {
	if err := l.fs.RemoveAll(as); err != nil {
		return fmt.Errorf("procd/savepoint: remove %s: %w", as, err)
	}
	err := l.fs.Rename(dir, as)
	if err == nil {
		err = l.fs.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("procd/savepoint: rename %s to %s: %w", dir, as, err)
	}
	return nil
}
