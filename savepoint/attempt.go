package savepoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"sync/atomic"
)

// maxTokenBytes bounds the token that a process reads back.
const maxTokenBytes = 128

// Attempt is one try to write a savepoint (P14). Every process of the job has
// one on the same directory: the coordinator's from [Location.Begin], the
// others' from [Location.Join]. Its methods are safe for concurrent use.
//
// The first error is final, because a failed write or sync says nothing of what
// is on disk: every later call returns it, and only Abort is left.
type Attempt struct {
	loc    *Location
	id     string
	number int
	dir    string
	bytes  atomic.Int64

	mu    sync.Mutex
	err   error
	parts map[partKey]*copied
}

// Begin makes the directory of an attempt with the token that every process
// must find in it (P13). Earlier attempts of the id are discarded first. The
// error is [ErrExists] where one of them has completed, and [ErrSuperseded] where
// a later one has begun: a coordinator that slept harms nobody (P14).
func (l *Location) Begin(id string, attempt int, token string) (*Attempt, error) {
	if !IsID(id) || attempt < 1 || token == "" || len(token) > maxTokenBytes {
		return nil, fmt.Errorf("%w: attempt %d of savepoint %q, token of %d bytes", ErrName, attempt, id, len(token))
	}
	if err := l.clear(id, attempt); err != nil {
		return nil, err
	}
	a := l.attempt(id, attempt)
	if err := a.absent(); err != nil {
		return nil, err
	}
	if err := l.fs.MkdirAll(path.Join(a.dir, deliveriesName)); err != nil {
		return nil, fmt.Errorf("procd/savepoint: begin savepoint %s in %s: %w", id, l.path, err)
	}
	if err := a.writeFile(tokenName, []byte(token)); err != nil {
		return nil, errors.Join(err, a.Abort())
	}
	for _, dir := range []string{a.dir, "."} {
		if err := l.fs.SyncDir(dir); err != nil {
			return nil, errors.Join(fmt.Errorf("procd/savepoint: begin savepoint %s in %s: %w", id, l.path, err), a.Abort())
		}
	}
	return a, nil
}

// clear makes room for an attempt.
func (l *Location) clear(id string, attempt int) error {
	there, err := l.unfinished()
	if err != nil {
		return err
	}
	for _, other := range there {
		if other.ID == id && other.Attempt > attempt {
			return fmt.Errorf("%w: attempt %d of savepoint %s has begun in %s", ErrSuperseded, other.Attempt, id, l.path)
		}
	}
	return l.Discard(id, attempt)
}

// Join opens the coordinator's directory, which must hold its token (P13):
// [ErrNotShared].
func (l *Location) Join(id string, attempt int, token string) (*Attempt, error) {
	if !IsID(id) || attempt < 1 {
		return nil, fmt.Errorf("%w: attempt %d of savepoint %q", ErrName, attempt, id)
	}
	a := l.attempt(id, attempt)
	have, err := readAll(l.fs, path.Join(a.dir, tokenName), maxTokenBytes)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(have) != token {
		return nil, fmt.Errorf("%w: %s of this process is not the coordinator's directory; point --savepoint-dir of every process to one that all of them see", ErrNotShared, l.path)
	}
	if err != nil {
		return nil, fmt.Errorf("procd/savepoint: join savepoint %s in %s: %w", id, l.path, err)
	}
	return a, nil
}

func (l *Location) attempt(id string, number int) *Attempt {
	return &Attempt{loc: l, id: id, number: number, dir: attemptDir(id, number), parts: make(map[partKey]*copied)}
}

// BytesCopied is how much this process has copied in this attempt so far.
func (a *Attempt) BytesCopied() int64 { return a.bytes.Load() }

// Complete makes the savepoint of what all processes have copied, and returns
// the SHA-256 of its manifest. m.Attempt and m.Definition are set here;
// definition is the job's text, "" if it has none. The manifest is written last
// and the directory gets its name in one step; before that there is no
// savepoint. After an error there is none either.
func (a *Attempt) Complete(ctx context.Context, m *Manifest, definition string) (sha256 string, err error) {
	if err := a.failed(); err != nil {
		return "", err
	}
	sha256, err = a.complete(ctx, m, definition)
	return sha256, a.fail(err)
}

func (a *Attempt) complete(ctx context.Context, m *Manifest, definition string) (sha256 string, err error) {
	if m.ID != a.id {
		return "", fmt.Errorf("%w: manifest of %s in an attempt of %s", ErrInvalid, m.ID, a.id)
	}
	m.Attempt = a.number
	if definition != "" {
		if m.Definition, err = a.writeDefinition(definition); err != nil {
			return "", err
		}
	}
	encoded, sha256, err := encodeManifest(m)
	if err != nil {
		return "", err
	}
	if err := a.loc.fs.Remove(path.Join(a.dir, tokenName)); err != nil {
		return "", err
	}
	if err := a.loc.fs.RemoveAll(path.Join(a.dir, deliveriesName)); err != nil {
		return "", err
	}
	if err := checkFiles(ctx, a.loc.fs, a.dir, a.id, m); err != nil {
		return "", err
	}
	if err := a.writeFile(manifestName, encoded); err != nil {
		return "", err
	}
	if err := a.loc.fs.SyncDir(a.dir); err != nil {
		return "", err
	}
	return sha256, a.publish()
}

// publish gives the directory its name. If the name may not be durable, the
// savepoint is taken back: a sync is never tried again.
func (a *Attempt) publish() error {
	if err := a.absent(); err != nil {
		return err
	}
	if err := a.loc.fs.Rename(a.dir, a.id); err != nil {
		return errors.Join(err, a.absent())
	}
	if err := a.loc.fs.SyncDir("."); err != nil {
		return errors.Join(err, a.loc.removeDir(a.id, goneDir(a.id, a.number)))
	}
	return nil
}

// absent is ErrExists if the savepoint is complete.
func (a *Attempt) absent() error {
	_, err := a.loc.fs.Lstat(a.id)
	if err == nil {
		return fmt.Errorf("%w: %s in %s", ErrExists, a.id, a.loc.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Abort gives the attempt up, for all processes, and removes its directory.
// Aborting a completed attempt, or again, does nothing.
func (a *Attempt) Abort() error {
	_ = a.fail(ErrSuperseded) // keep the first reason
	return a.loc.removeDir(a.dir, goneDir(a.id, a.number))
}

// failed returns the error that ended the attempt.
func (a *Attempt) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// fail keeps the first error and returns err, explained. A directory that is
// gone means that somebody gave the attempt up.
func (a *Attempt) fail(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := a.loc.fs.Lstat(a.dir); errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(ErrSuperseded, err)
		}
	}
	err = fmt.Errorf("procd/savepoint: savepoint %s, attempt %d, in %s: %w", a.id, a.number, a.loc.path, err)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
	return err
}

func (a *Attempt) writeDefinition(text string) (*File, error) {
	if err := a.writeFile(definitionName, []byte(text)); err != nil {
		return nil, err
	}
	return &File{Name: definitionName, Size: int64(len(text)), SHA256: sumOf([]byte(text))}, nil
}

// writeFile makes a small file and syncs it.
func (a *Attempt) writeFile(name string, data []byte) error {
	return a.write(name, data, true)
}

func (a *Attempt) write(name string, data []byte, sync bool) error {
	f, err := a.loc.fs.Create(path.Join(a.dir, name))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readAll reads a file of at most limit bytes.
func readAll(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, name, limit)
	}
	return slices.Clip(data), nil
}
