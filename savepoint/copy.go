package savepoint

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
)

// copyBufferBytes is how much is read, hashed and written at once.
const copyBufferBytes = 1 << 20

// Checkpoint is a checkpoint of one store partition: what PreCopy and CopyPart
// copy from.
type Checkpoint struct {
	UID       string
	Partition int32
	// Instance is the id of the database, made at random with its directory: a
	// wiped database uses file numbers again (P14).
	Instance string
	// Files is the checkpoint's directory. It is only read.
	Files FS
}

type partKey struct {
	uid       string
	partition int32
}

// copied is what an attempt has of one part. One goroutine at a time uses it.
type copied struct {
	busy     bool
	instance string
	tables   map[string]table
}

// table is a copied table and the rows in it.
type table struct {
	file File
	rows []VersionRows
}

// PreCopy copies the tables of a checkpoint while work goes on. Tables are
// immutable, so what CopyPart finds again later, by database instance, name and
// size, need not be copied then (P14).
func (a *Attempt) PreCopy(ctx context.Context, c Checkpoint) error {
	return a.withPart(c, func(p *copied) error {
		names, err := a.tables(c)
		if err != nil {
			return err
		}
		return a.copyTables(ctx, c, p, names)
	})
}

// CopyPart copies what a checkpoint has and the attempt has not, drops what
// only the earlier checkpoint had, and returns the part for the manifest: its
// position and row counts are read from the copy. Everything is synced.
func (a *Attempt) CopyPart(ctx context.Context, c Checkpoint) (Part, error) {
	var part Part
	err := a.withPart(c, func(p *copied) (err error) {
		part, err = a.copyPart(ctx, c, p)
		return err
	})
	return part, err
}

// withPart runs one step of a part; two at once are a mistake of the caller.
func (a *Attempt) withPart(c Checkpoint, step func(*copied) error) error {
	if !uidRE.MatchString(c.UID) || c.Partition < 0 || c.Instance == "" {
		return a.fail(fmt.Errorf("%w: store %q, partition %d, instance %q", ErrName, c.UID, c.Partition, c.Instance))
	}
	p, err := a.take(partKey{c.UID, c.Partition})
	if err != nil {
		return err
	}
	err = a.fail(a.reset(c, p))
	if err == nil {
		err = a.fail(step(p))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p.busy = false
	return err
}

func (a *Attempt) take(k partKey) (*copied, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return nil, a.err
	}
	p := a.parts[k]
	if p == nil {
		p = &copied{}
		a.parts[k] = p
	}
	if p.busy {
		return nil, fmt.Errorf("procd/savepoint: store %s, partition %d is being copied already", k.uid, k.partition)
	}
	p.busy = true
	return p, nil
}

// reset starts a part over where the database is another one than before.
func (a *Attempt) reset(c Checkpoint, p *copied) error {
	if p.instance == c.Instance {
		return nil
	}
	dir := a.partDir(c)
	if err := a.loc.fs.RemoveAll(dir); err != nil {
		return err
	}
	// Not MkdirAll of the attempt's own directory: one that was given up must
	// not come back.
	if _, err := a.loc.fs.Lstat(a.dir); err != nil {
		return err
	}
	*p = copied{busy: true, instance: c.Instance, tables: make(map[string]table)}
	return a.loc.fs.MkdirAll(dir)
}

func (a *Attempt) partDir(c Checkpoint) string {
	return path.Join(a.dir, partDir(c.UID, c.Partition))
}

func (a *Attempt) copyPart(ctx context.Context, c Checkpoint, p *copied) (Part, error) {
	tables, err := a.tables(c)
	if err != nil {
		return Part{}, err
	}
	if err := a.dropTables(c, p, tables); err != nil {
		return Part{}, err
	}
	if err := a.copyTables(ctx, c, p, tables); err != nil {
		return Part{}, err
	}
	part := Part{UID: c.UID, Partition: c.Partition, Instance: c.Instance}
	if part.Files, err = a.copyOthers(ctx, c); err != nil {
		return Part{}, err
	}
	rows := make(map[int]int64)
	for _, t := range p.tables {
		part.Files = append(part.Files, t.file)
		for _, r := range t.rows {
			rows[r.Version] += r.Rows
		}
	}
	part.Rows = sortedRows(rows)
	slices.SortFunc(part.Files, byName)
	if err := a.syncPart(c); err != nil {
		return Part{}, err
	}
	return part, a.readBack(ctx, c, &part)
}

// readBack reads the position from the copy (P14), which also shows that the
// copy opens, and counts the rows of a small part exactly.
func (a *Attempt) readBack(ctx context.Context, c Checkpoint, part *Part) error {
	n, err := openNative(a.loc.fs, a.partDir(c), part.Files)
	if err != nil {
		return err
	}
	at, err := n.position()
	part.Changelog, part.Sources = at.Changelog, at.Sources
	if err == nil && part.Entries() <= MaxCounted {
		part.Rows, err = n.count(ctx)
	}
	return errors.Join(err, n.close())
}

// tables are the names and sizes of a checkpoint's tables.
func (a *Attempt) tables(c Checkpoint) (map[string]int64, error) {
	infos, err := c.Files.List(".")
	if err != nil {
		return nil, err
	}
	names := make(map[string]int64)
	for _, info := range infos {
		if isTable(info.Name()) {
			names[info.Name()] = info.Size()
		}
	}
	return names, nil
}

// dropTables removes copies of tables that are gone from the database.
func (a *Attempt) dropTables(c Checkpoint, p *copied, keep map[string]int64) error {
	for name, t := range p.tables {
		if size, ok := keep[name]; ok && size == t.file.Size {
			continue
		}
		if err := a.loc.fs.Remove(path.Join(a.partDir(c), name)); err != nil {
			return err
		}
		delete(p.tables, name)
	}
	return nil
}

// copyTables copies those tables that were not copied yet.
func (a *Attempt) copyTables(ctx context.Context, c Checkpoint, p *copied, names map[string]int64) error {
	for _, name := range sortedKeys(names) {
		if _, ok := p.tables[name]; ok {
			continue
		}
		file, err := a.copyFile(ctx, c, name)
		if err != nil {
			return err
		}
		rows, err := countTable(a.loc.fs, path.Join(a.partDir(c), name))
		if err != nil {
			return err
		}
		p.tables[name] = table{file, rows}
	}
	return nil
}

// copyOthers copies every file that is not a table. The file that locks the
// database while it is open is not part of it.
func (a *Attempt) copyOthers(ctx context.Context, c Checkpoint) ([]File, error) {
	infos, err := c.Files.List(".")
	if err != nil {
		return nil, err
	}
	var files []File
	for _, info := range infos {
		if isTable(info.Name()) || info.Name() == "LOCK" {
			continue
		}
		file, err := a.copyFile(ctx, c, info.Name())
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (a *Attempt) copyFile(ctx context.Context, c Checkpoint, name string) (File, error) {
	if !fileRE.MatchString(name) {
		return File{}, fmt.Errorf("%w: file %q of store %s", ErrName, name, c.UID)
	}
	return copyFile(ctx, c.Files, name, a.loc.fs, path.Join(a.partDir(c), name), func(n int) { a.bytes.Add(int64(n)) })
}

// syncPart makes the names on the way to a part's files durable.
func (a *Attempt) syncPart(c Checkpoint) error {
	for dir := a.partDir(c); dir != "."; dir = path.Dir(dir) {
		if err := a.loc.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file, syncs the copy and returns its description.
func copyFile(ctx context.Context, src FS, from string, dst FS, to string, progress func(int)) (File, error) {
	in, err := src.Open(from)
	if err != nil {
		return File{}, err
	}
	file, err := copyInto(ctx, in, dst, to, progress)
	file.Name = path.Base(from)
	return file, errors.Join(err, in.Close())
}

func copyInto(ctx context.Context, in ReadFile, dst FS, to string, progress func(int)) (File, error) {
	out, err := dst.Create(to)
	if err != nil {
		return File{}, err
	}
	h := sha256.New()
	size, err := pump(ctx, in, h, out, progress)
	if err == nil {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return File{}, err
	}
	return File{Size: size, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// pump moves all bytes of a file into a hash and, unless it is nil, a writer.
func pump(ctx context.Context, in io.Reader, h hash.Hash, out io.Writer, progress func(int)) (size int64, err error) {
	buf := make([]byte, copyBufferBytes)
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, readErr := in.Read(buf)
		h.Write(buf[:n]) // never fails
		if out != nil {
			if _, err := out.Write(buf[:n]); err != nil {
				return size, err
			}
		}
		size += int64(n)
		progress(n)
		if errors.Is(readErr, io.EOF) {
			return size, nil
		}
		if readErr != nil {
			return size, readErr
		}
	}
}

func byName(a, b File) int { return cmp.Compare(a.Name, b.Name) }

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func sortedRows(rows map[int]int64) []VersionRows {
	sorted := make([]VersionRows, 0, len(rows))
	for v, n := range rows {
		sorted = append(sorted, VersionRows{Version: v, Rows: n})
	}
	slices.SortFunc(sorted, func(a, b VersionRows) int { return cmp.Compare(a.Version, b.Version) })
	return sorted
}
