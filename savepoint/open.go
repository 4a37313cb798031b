package savepoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
)

// Savepoint is a complete savepoint, open to read. It is safe for concurrent
// use.
type Savepoint struct {
	fs       FS
	dir      string // in fs
	name     string // for messages: id or path
	manifest *Manifest
	sha256   string
	close    func() error

	mu       sync.Mutex
	verified map[partKey]bool
}

// open reads the manifest of the savepoint in a directory.
func open(fsys FS, dir, name string) (*Savepoint, error) {
	data, err := readAll(fsys, path.Join(dir, manifestName), maxManifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no %s", ErrNotFound, name, manifestName)
	}
	if err != nil {
		return nil, fmt.Errorf("procd/savepoint: open savepoint %s: %w", name, err)
	}
	s := &Savepoint{fs: fsys, dir: dir, name: name, close: func() error { return nil }, verified: make(map[partKey]bool)}
	s.manifest, s.sha256, err = decodeManifest(data)
	if errors.Is(err, ErrDamaged) {
		return nil, &DamageError{Savepoint: name, File: manifestName, Problem: err.Error()}
	}
	if err != nil {
		return nil, fmt.Errorf("%s of savepoint %s: %w", manifestName, name, err)
	}
	return s, nil
}

// Close closes what [OpenPath] opened.
func (s *Savepoint) Close() error { return s.close() }

// Manifest says what the savepoint holds. It must not be changed.
func (s *Savepoint) Manifest() *Manifest { return s.manifest }

// SHA256 is the checksum of the manifest, as it is written in it: with all the
// checksums in the manifest it stands for every byte of the savepoint.
func (s *Savepoint) SHA256() string { return s.sha256 }

// Definition returns the text of the job, "" if it has none.
func (s *Savepoint) Definition() (string, error) {
	d := s.manifest.Definition
	if d == nil {
		return "", nil
	}
	data, err := readAll(s.fs, path.Join(s.dir, d.Name), d.Size)
	if err != nil {
		return "", s.damage(d.Name, err)
	}
	if sumOf(data) != d.SHA256 {
		return "", &DamageError{Savepoint: s.name, File: d.Name, Problem: "its checksum is wrong"}
	}
	return string(data), nil
}

// part finds a part of the manifest.
func (s *Savepoint) part(uid string, partition int32) (*Part, error) {
	p, ok := s.manifest.Part(uid, partition)
	if !ok {
		return nil, fmt.Errorf("%w: %s, partition %d of savepoint %s", ErrNoStore, uid, partition, s.name)
	}
	return p, nil
}

// partPath is a part's directory in the savepoint's file system.
func (s *Savepoint) partPath(p *Part) string {
	return path.Join(s.dir, partDir(p.UID, p.Partition))
}
