package kstate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Base is one partition of a store in a savepoint: what the state of a new
// generation starts as (P16). A native one has Files, a portable one Rows.
type Base struct {
	// Instance is the database that was checkpointed, Position where the
	// savepoint's manifest says that the checkpoint is. Of a portable one
	// Instance stands for its bytes, and no other savepoint has the same.
	Instance string
	Position Position
	// Rows calls fn for every row: its key and its Avro bytes, written with one
	// of Versions. Of a key that is there twice the last row counts. What it
	// reads is verified at the latest when it returns.
	Rows func(fn func(key []byte, version int, data []byte) error) error
	// Files are the checkpoint's files, by the manifest.
	Files []BaseFile
	// Open opens one of Files. What it reads is verified as it is copied.
	Open func(name string) (io.ReadCloser, error)
	// Versions are the schemas that the base's values may be written with. The
	// generation must keep them under the same numbers until it is detached;
	// its own new ones get higher numbers.
	Versions []SchemaVersion
	// Adopt is the directory of the same partition of the generation that was
	// checkpointed, if this host has one, or "". Tables that it still has are
	// linked instead of copied (P15).
	Adopt string
}

// BaseFile is a file of a base.
type BaseFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Origin says what a store was restored from.
type Origin string

// The origins of a restored store. All of them then read the changelog, and
// OriginLocal only its tail.
const (
	OriginLocal     Origin = "local"     // the local copy
	OriginChangelog Origin = "changelog" // nothing else
	OriginCopied    Origin = "copied"    // a base, more of it copied than linked
	OriginAdopted   Origin = "adopted"   // a base, most of its bytes linked (P15)
	OriginRows      Origin = "rows"      // a portable base
)

// metaBase says, in a store that was made from a base, which one it was.
var metaBase = append([]byte{kindMeta}, "base"...)

// storedBase is the JSON of metaBase.
type storedBase struct {
	Instance  string `json:"instance"`
	Changelog int64  `json:"changelog"`
	// Linked are the tables that were linked and not verified yet, Adopted is
	// the directory that they were found in.
	Linked  []BaseFile `json:"linked,omitempty"`
	Adopted string     `json:"adopted,omitempty"`
}

// PrepareFromBase is Prepare for a generation that started from a savepoint and
// is not detached from it yet: where there is no usable local copy it builds
// one from the base, to which the generation's whole changelog is then applied.
// A base that cannot be read, or is not what the manifest says, is an error
// that wraps ErrBase; the store is never started without it (P16).
func (e *Env) PrepareFromBase(dir string, id Identity, log LogBounds, base Base) (*Restore, error) {
	return e.prepare(dir, id, log, &base)
}

// openBase fills a new directory with the base and opens it.
func (r *Restore) openBase() error {
	if r.base.Rows != nil {
		r.origin = OriginRows
		err := r.openNew()
		if err == nil {
			err = r.putRows()
		}
		return err
	}
	from, err := r.placeFiles()
	if err != nil {
		return err
	}
	r.db, err = r.env.openDB(r.dir, r.late)
	if unusable(err) {
		err = fmt.Errorf("%w: %w", ErrBase, err)
	}
	if err != nil {
		return err
	}
	return r.takeBase(from)
}

// putRows writes the rows, sorted as far as memory goes, and last what they came
// from.
func (r *Restore) putRows() error {
	var key, value []byte
	var failed error // here, and not in the base
	err := r.base.Rows(func(k []byte, version int, data []byte) error {
		if !slices.ContainsFunc(r.base.Versions, func(v SchemaVersion) bool { return v.Version == version }) {
			return fmt.Errorf("a row has version %d, whose schema is not there", version)
		}
		key, value = AppendKey(key[:0], k), AppendValue(value[:0], version, data)
		failed = r.buffer(key, value)
		return failed
	})
	switch {
	case failed != nil:
		return failed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err // the base was not at fault
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBase, err)
	}
	from := storedBase{Instance: r.base.Instance, Changelog: r.base.Position.Changelog}
	base, err := from.pair()
	if err != nil {
		return err
	}
	r.db.base = &from
	return r.writeWith(base)
}

// placeFiles puts the base's files into the new directory. A table is immutable and
// its number is used once by a database, so one that the old directory has is
// the base's, however long work went on there since the cut (P14, P15).
func (r *Restore) placeFiles() (storedBase, error) {
	from := storedBase{Instance: r.base.Instance, Changelog: r.base.Position.Changelog}
	if err := r.env.mkdir(r.dir); err != nil {
		return from, err
	}
	adopt, err := r.adoptable()
	if err != nil {
		return from, err
	}
	var linked, copied int64
	format := ""
	for _, f := range r.base.Files {
		if f.Name == formatFile {
			if format, err = r.baseFormat(f); err != nil {
				return from, err
			}
			continue // this directory gets its own, last
		}
		if filepath.Base(f.Name) != f.Name || f.Name == instanceFile {
			return from, fmt.Errorf("%w: it has a file %q", ErrBase, f.Name)
		}
		if adopt != "" && isTable(f.Name) && r.link(adopt, f) {
			from.Linked, from.Adopted = append(from.Linked, f), adopt
			linked += f.Size
			continue
		}
		if isTable(f.Name) {
			copied += f.Size
		}
		if err := r.copyBaseFile(f); err != nil {
			return from, err
		}
	}
	r.origin = OriginCopied
	if linked > copied {
		r.origin = OriginAdopted
	}
	return from, checkBaseFormat(format)
}

func isTable(name string) bool { return strings.HasSuffix(name, ".sst") }

// adoptable returns the old directory if the base is of its database, or "".
func (r *Restore) adoptable() (string, error) {
	if r.base.Adopt == "" {
		return "", nil
	}
	dir := filepath.Clean(r.base.Adopt)
	instance, err := r.env.readInstance(dir)
	if err != nil || instance == "" || instance != r.base.Instance {
		return "", err
	}
	return dir, nil
}

// link links a table if the old directory has it. Where it cannot, whatever
// the reason, the savepoint has the table.
func (r *Restore) link(from string, f BaseFile) bool {
	fs := r.env.fs
	name := fs.PathJoin(from, f.Name)
	info, err := fs.Stat(name)
	if err != nil || info.Size() != f.Size {
		return false
	}
	return fs.Link(name, fs.PathJoin(r.dir, f.Name)) == nil
}

// copyBaseFile copies a file and verifies what was read. Tables, which may be
// large, are synced at once, the others with everything else.
func (r *Restore) copyBaseFile(f BaseFile) error {
	fs := vfs.FS(r.late)
	if isTable(f.Name) {
		fs = r.env.fs
	}
	out, err := fs.Create(fs.PathJoin(r.dir, f.Name), "procd-base")
	if err != nil {
		return err
	}
	err = r.readBaseFile(f, out)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// baseFormat reads the file that says which format the base has.
func (r *Restore) baseFormat(f BaseFile) (text string, err error) {
	if f.Size > smallBytes {
		return "", fmt.Errorf("%w: its file %s has %d bytes", ErrBase, f.Name, f.Size)
	}
	var b strings.Builder
	err = r.readBaseFile(f, &b)
	return b.String(), err
}

// readBaseFile writes a file of the base to out and verifies what was read.
func (r *Restore) readBaseFile(f BaseFile, out io.Writer) error {
	in, err := r.base.Open(f.Name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBase, err)
	}
	// One byte more than it should have shows a file that has grown, without
	// reading whatever is there (D3).
	sum, size, err := copyHashed(out, io.LimitReader(in, f.Size+1))
	if err := errors.Join(err, in.Close()); err != nil {
		return fmt.Errorf("%w: copy %s: %w", ErrBase, f.Name, err)
	}
	if size != f.Size || sum != f.SHA256 {
		return fmt.Errorf("%w: file %s differs from the manifest", ErrBase, f.Name)
	}
	return nil
}

// copyBufferBytes is how much is read, hashed and written at once.
const copyBufferBytes = 1 << 20

func copyHashed(out io.Writer, in io.Reader) (sum string, size int64, err error) {
	h := sha256.New()
	size, err = io.CopyBuffer(io.MultiWriter(h, out), in, make([]byte, copyBufferBytes))
	return hex.EncodeToString(h.Sum(nil)), size, err
}

func checkBaseFormat(text string) error {
	switch format := parseFormat(text); {
	case format == 0:
		return fmt.Errorf("%w: it has no file %s", ErrBase, formatFile)
	case format > storeFormat:
		return fmt.Errorf("%w (format %d, this one knows %d)", ErrNewerFormat, format, storeFormat)
	}
	return nil
}

// takeBase checks that the base is what the manifest says, and makes it the
// beginning of this generation: everything that is about the old one goes.
// Position and identity come with Finish.
func (r *Restore) takeBase(from storedBase) error {
	if err := r.checkBase(); err != nil {
		if unusable(err) {
			return fmt.Errorf("%w: %w", ErrBase, err)
		}
		return err
	}
	base, err := from.pair()
	if err != nil {
		return err
	}
	pairs := []pair{{metaPosition, nil}, {metaIdentity, nil}, base}
	for _, v := range r.db.SchemaVersions() {
		// Schemas on disk are those that the changelog has, and this one's has
		// none yet (P18).
		pairs = append(pairs, pair{AppendSchemaKey(nil, v.Version), nil})
	}
	r.db.base = &from
	return r.db.write(nil, nil, pairs...)
}

func (r *Restore) checkBase() error {
	at, id, found, err := r.db.readMeta()
	if err == nil && found {
		err = r.db.loadSchemas()
	}
	want := r.base.Position
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("%w: it has no position", ErrBase)
	case at.position.Changelog != want.Changelog || !slices.Equal(at.position.Sources, want.Sources):
		return fmt.Errorf("%w: it is at %+v, and the manifest says %+v", ErrBase, at.position, want)
	case id.Partition != r.id.Partition:
		return fmt.Errorf("%w: it is of partition %d, and this one is %d", ErrBase, id.Partition, r.id.Partition)
	}
	_, err = mergeVersions(r.id.Store, r.base.Versions, r.db.SchemaVersions())
	return err
}

func (base storedBase) pair() (pair, error) {
	v, err := json.Marshal(base)
	return pair{metaBase, v}, err
}

// judgeBase says why a local copy cannot be used by a generation that needs its
// base, or "".
func (r *Restore) judgeBase(db *DB) (reason string, err error) {
	var have storedBase
	found, err := db.readJSON(metaBase, func(b []byte) error {
		if err := json.Unmarshal(b, &have); err != nil {
			return fmt.Errorf("%w: base: %w", ErrCorrupt, err)
		}
		return nil
	})
	switch {
	case unusable(err):
		return "local copy is damaged: " + err.Error(), nil
	case err != nil:
		return "", err
	case !found:
		return "local copy was made without the base savepoint", nil
	case have.Instance != r.base.Instance || have.Changelog != r.base.Position.Changelog:
		return "local copy was made from another savepoint", nil
	}
	db.base = &have
	return "", nil
}
