package savepoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"path"
	"regexp"
	"slices"
	"strconv"
)

// containerRE is the name of a container: all rows of one version of one part.
var containerRE = regexp.MustCompile(`^v([1-9][0-9]{0,4})\.avro$`)

func containerName(version int) string { return "v" + strconv.Itoa(version) + ".avro" }

func containerVersion(name string) (int, error) {
	m := containerRE.FindStringSubmatch(name)
	if m == nil {
		return 0, fmt.Errorf("%w: %q is not a container of rows", ErrName, name)
	}
	return strconv.Atoi(m[1])
}

// Export writes the savepoint in portable form into a directory that exists and
// is empty: Avro object container files, one per store, partition and schema
// version, rows as they are. It has the same id. Everything is verified before
// it is read. After an error the directory is emptied again. progress, if not
// nil, is called with the bytes written.
func (s *Savepoint) Export(ctx context.Context, dst FS, progress func(bytes int)) error {
	if progress == nil {
		progress = func(int) {}
	}
	infos, err := dst.List(".")
	if err != nil {
		return fmt.Errorf("procd/savepoint: export of %s: %w", s.name, err)
	}
	if len(infos) > 0 {
		return fmt.Errorf("%w: the directory to export to has %q in it; name an empty one", ErrExists, infos[0].Name())
	}
	e := &export{s: s, dst: dst, progress: progress}
	if err := e.run(ctx); err != nil {
		return errors.Join(fmt.Errorf("procd/savepoint: export of %s: %w", s.name, err), e.undo())
	}
	return nil
}

type export struct {
	s        *Savepoint
	dst      FS
	progress func(int)
}

func (e *export) run(ctx context.Context) error {
	m := *e.s.manifest
	m.Form = Portable
	m.Stores = slices.Clone(m.Stores)
	for i := range m.Stores {
		if err := e.store(ctx, &m.Stores[i]); err != nil {
			return err
		}
	}
	if d := m.Definition; d != nil {
		text, err := e.s.Definition()
		if err != nil {
			return err
		}
		if err := e.file(d.Name, []byte(text)); err != nil {
			return err
		}
	}
	data, _, err := encodeManifest(&m)
	if err != nil {
		return err
	}
	if err := e.file(manifestName, data); err != nil {
		return err
	}
	return e.dst.SyncDir(".")
}

// store writes the parts of a store and replaces their files and row counts in
// the manifest.
func (e *export) store(ctx context.Context, s *Store) error {
	s.Versions, s.Parts = slices.Clone(s.Versions), slices.Clone(s.Parts)
	rows := make(map[int]int64)
	for i := range s.Parts {
		if err := e.part(ctx, s, &s.Parts[i]); err != nil {
			return err
		}
		for _, r := range s.Parts[i].Rows {
			rows[r.Version] += r.Rows
		}
	}
	for i := range s.Versions {
		s.Versions[i].Rows = rows[s.Versions[i].Version]
	}
	return nil
}

func (e *export) part(ctx context.Context, s *Store, p *Part) error {
	dir := partDir(p.UID, p.Partition)
	if err := e.dst.MkdirAll(dir); err != nil {
		return err
	}
	w := &partWriter{export: e, store: s, part: p, dir: dir, open: make(map[int]*container)}
	var failed error
	err := e.s.eachRow(ctx, p.UID, p.Partition, func(r Row) bool {
		failed = w.add(r)
		return failed == nil
	})
	err = errors.Join(err, failed, w.close())
	if err != nil {
		return err
	}
	p.Instance, p.Files, p.Rows = "", w.files, w.rows
	for ; dir != "."; dir = path.Dir(dir) {
		if err := e.dst.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// file writes a small file.
func (e *export) file(name string, data []byte) error {
	f, err := e.dst.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	e.progress(len(data))
	return errors.Join(err, f.Close())
}

// undo removes what was written.
func (e *export) undo() error {
	var errs []error
	for _, name := range []string{manifestName, definitionName, storesName} {
		errs = append(errs, e.dst.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// partWriter writes the containers of one part, one for each version met.
type partWriter struct {
	*export
	store *Store
	part  *Part
	dir   string
	open  map[int]*container
	files []File
	rows  []VersionRows
}

func (w *partWriter) add(r Row) error {
	c := w.open[r.Version]
	if c == nil {
		var err error
		if c, err = w.begin(r.Version); err != nil {
			return err
		}
		w.open[r.Version] = c
	}
	c.rows++
	return c.add(r)
}

func (w *partWriter) begin(version int) (*container, error) {
	schema, ok := w.store.Schema(version)
	if !ok {
		return nil, fmt.Errorf("%w: store %s, partition %d has rows of version %d, whose schema the manifest does not have", ErrMalformed, w.part.UID, w.part.Partition, version)
	}
	f, err := w.dst.Create(path.Join(w.dir, containerName(version)))
	if err != nil {
		return nil, err
	}
	c := &container{file: f, sum: sha256.New(), progress: w.progress}
	c.containerWriter, err = newContainer(c, schema, w.marker(version))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// marker derives a container's sync marker from what it is of.
func (w *partWriter) marker(version int) (marker [16]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "procd savepoint %s, store %s, partition %d, version %d", w.s.manifest.ID, w.part.UID, w.part.Partition, version))
	copy(marker[:], sum[:])
	return marker
}

// close finishes the containers in the order of their versions.
func (w *partWriter) close() error {
	var errs []error
	for _, version := range sortedKeys(w.open) {
		c := w.open[version]
		errs = append(errs, c.finish())
		w.files = append(w.files, File{Name: containerName(version), Size: c.size, SHA256: hex.EncodeToString(c.sum.Sum(nil))})
		w.rows = append(w.rows, VersionRows{Version: version, Rows: c.rows})
	}
	slices.SortFunc(w.files, byName)
	return errors.Join(errs...)
}

// container is one container file being written.
type container struct {
	*containerWriter
	file     NewFile
	sum      hash.Hash
	size     int64
	rows     int64
	progress func(int)
}

// Write hashes what the container writer writes, on its way to the file.
func (c *container) Write(b []byte) (int, error) {
	c.sum.Write(b) // never fails
	c.size += int64(len(b))
	c.progress(len(b))
	return c.file.Write(b)
}

func (c *container) finish() error {
	err := c.containerWriter.close()
	if err == nil {
		err = c.file.Sync()
	}
	return errors.Join(err, c.file.Close())
}
