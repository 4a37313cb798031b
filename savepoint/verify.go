package savepoint

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Verify compares names and sizes with the manifest, then every byte. The error
// joins a [*DamageError] for every file that is missing, too many or of another
// size, or, where there is none, for every file with a wrong checksum. progress,
// if not nil, is called with the bytes read.
func (s *Savepoint) Verify(ctx context.Context, progress func(bytes int)) error {
	err := checkFiles(ctx, s.fs, s.dir, s.name, s.manifest, manifestName)
	if err != nil {
		return err // names and sizes first: reading takes long
	}
	var errs []error
	if d := s.manifest.Definition; d != nil {
		errs = append(errs, s.verifyFile(ctx, ".", *d, progress))
	}
	for i := range s.manifest.Stores {
		for j := range s.manifest.Stores[i].Parts {
			errs = append(errs, s.verifyPart(ctx, &s.manifest.Stores[i].Parts[j], progress))
		}
	}
	return errors.Join(errs...)
}

// VerifyPart verifies the files of one part.
func (s *Savepoint) VerifyPart(ctx context.Context, uid string, partition int32, progress func(bytes int)) error {
	p, err := s.part(uid, partition)
	if err != nil {
		return err
	}
	return s.verifyPart(ctx, p, progress)
}

// VerifyFiles compares files of another directory with their checksums: those
// of a live directory that a start adopted, before it detaches (P15). what says
// whose files they are.
func VerifyFiles(ctx context.Context, fsys FS, dir, what string, files []File, progress func(bytes int)) error {
	s := &Savepoint{fs: fsys, dir: dir, name: what}
	var errs []error
	for _, f := range files {
		errs = append(errs, s.verifyFile(ctx, ".", f, progress))
	}
	return errors.Join(errs...)
}

// verifyOnce verifies a part unless this was done before.
func (s *Savepoint) verifyOnce(ctx context.Context, p *Part) error {
	key := partKey{p.UID, p.Partition}
	s.mu.Lock()
	done := s.verified[key]
	s.mu.Unlock()
	if done {
		return nil
	}
	return s.verifyPart(ctx, p, nil)
}

func (s *Savepoint) verifyPart(ctx context.Context, p *Part, progress func(int)) error {
	var err error
	if s.manifest.Form == Portable {
		err = s.verifyRows(ctx, p, progress)
	} else {
		var errs []error
		for _, f := range p.Files {
			errs = append(errs, s.verifyFile(ctx, partDir(p.UID, p.Partition), f, progress))
		}
		err = errors.Join(errs...)
	}
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.verified[partKey{p.UID, p.Partition}] = true
	}
	return err
}

// verifyRows verifies the containers of a part: their bytes, and that there is in
// them what the manifest says. Other tools may have written them, so a key can
// be where nobody would look for it (P24).
func (s *Savepoint) verifyRows(ctx context.Context, p *Part, progress func(int)) error {
	if progress == nil {
		progress = func(int) {}
	}
	counts := make(map[int]int64)
	var errs []error
	for _, f := range p.Files {
		stray := s.strays(p)
		err := s.eachOfFile(ctx, p, f, progress, func(r Row) error {
			counts[r.Version]++
			stray.look(r.Key)
			return nil
		})
		if err == nil && stray.problem != "" {
			err = &DamageError{Savepoint: s.name, File: path.Join(partDir(p.UID, p.Partition), f.Name), Problem: stray.problem}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range p.Rows {
		counts[r.Version] -= r.Rows
	}
	for _, version := range sortedKeys(counts) {
		if n := counts[version]; n != 0 {
			return &DamageError{Savepoint: s.name, File: manifestName, Problem: fmt.Sprintf("store %s, partition %d, version %d: the number of rows is wrong by %d", p.UID, p.Partition, version, n)}
		}
	}
	return nil
}

// strays looks for keys that belong on another partition.
type strays struct {
	stage     Stage
	partition int32
	problem   string // the first that was found; "" if none
}

func (s *Savepoint) strays(p *Part) *strays {
	store, _ := s.manifest.Store(p.UID)
	at := slices.IndexFunc(s.manifest.Stages, func(st Stage) bool { return st.ID == store.Stage })
	return &strays{stage: s.manifest.Stages[at], partition: p.Partition}
}

func (s *strays) look(key []byte) {
	at := s.stage.Partitioner.Partition(key, s.stage.Partitions)
	if at >= 0 && at != s.partition && s.problem == "" {
		s.problem = fmt.Sprintf("key %q belongs on partition %d, by %s", abbreviate(string(key)), at, s.stage.Partitioner)
	}
}

func (s *Savepoint) verifyFile(ctx context.Context, dir string, f File, progress func(int)) error {
	if progress == nil {
		progress = func(int) {}
	}
	name := path.Join(dir, f.Name)
	in, err := s.fs.Open(path.Join(s.dir, name))
	if err != nil {
		return s.damage(name, err)
	}
	h := sha256.New()
	size, err := pump(ctx, in, h, nil, progress)
	if err := errors.Join(err, in.Close()); err != nil {
		return s.damage(name, err)
	}
	if size != f.Size {
		return &DamageError{Savepoint: s.name, File: name, Problem: fmt.Sprintf("it has %d bytes instead of %d", size, f.Size)}
	}
	if hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		return &DamageError{Savepoint: s.name, File: name, Problem: "its checksum is wrong"}
	}
	return nil
}

// damage names the file that cannot be read. A disk that fails for the moment is
// not damage.
func (s *Savepoint) damage(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &DamageError{Savepoint: s.name, File: name, Problem: "it is missing"}
	}
	if errors.Is(err, ErrNotRegular) || errors.Is(err, ErrTooLarge) {
		return &DamageError{Savepoint: s.name, File: name, Problem: err.Error()}
	}
	return fmt.Errorf("procd/savepoint: read %s of savepoint %s: %w", name, s.name, err)
}

// checkFiles compares names and sizes below a directory with a manifest, and
// with the further files named. Each difference is a *DamageError.
func checkFiles(ctx context.Context, fsys FS, dir, name string, m *Manifest, further ...string) error {
	w := &walk{fs: fsys, dir: dir, name: name, files: make(map[string]int64), dirs: map[string]bool{".": true}}
	for _, f := range further {
		w.files[f] = anySize
	}
	if m.Definition != nil {
		w.files[m.Definition.Name] = m.Definition.Size
	}
	for i := range m.Stores {
		for j := range m.Stores[i].Parts {
			w.expect(&m.Stores[i].Parts[j])
		}
	}
	if err := w.visit(ctx, "."); err != nil {
		return err
	}
	for _, missing := range sortedKeys(w.files) {
		w.report(missing, "it is missing")
	}
	return errors.Join(w.errs...)
}

// anySize is the size of a file that the manifest does not list.
const anySize = -1

// walk compares a directory tree with what is expected of it. files are those
// that were not met yet.
type walk struct {
	fs    FS
	dir   string
	name  string
	files map[string]int64
	dirs  map[string]bool
	errs  []error
}

func (w *walk) expect(p *Part) {
	dir := partDir(p.UID, p.Partition)
	for _, f := range p.Files {
		w.files[path.Join(dir, f.Name)] = f.Size
	}
	for ; dir != "."; dir = path.Dir(dir) {
		w.dirs[dir] = true
	}
}

func (w *walk) report(file, problem string) {
	w.errs = append(w.errs, &DamageError{Savepoint: w.name, File: file, Problem: problem})
}

func (w *walk) visit(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	infos, err := w.fs.List(path.Join(w.dir, dir))
	if err != nil {
		return fmt.Errorf("procd/savepoint: list %s of savepoint %s: %w", dir, w.name, err)
	}
	for _, info := range infos {
		name := path.Join(dir, info.Name())
		size, expected := w.files[name]
		switch {
		case info.IsDir() && w.dirs[name]:
			if err := w.visit(ctx, name); err != nil {
				return err
			}
		case info.IsDir() || !expected && info.Mode().IsRegular():
			w.report(name, "it does not belong to the savepoint")
		case !info.Mode().IsRegular():
			w.report(name, "it is not a regular file")
			delete(w.files, name)
		default:
			if size != anySize && size != info.Size() {
				w.report(name, fmt.Sprintf("it has %d bytes instead of %d", info.Size(), size))
			}
			delete(w.files, name)
		}
	}
	return nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
