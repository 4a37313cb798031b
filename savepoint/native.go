package savepoint

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/go-json-experiment/json"
	"github.com/procd/procd/kstate"
)

// The kinds of keys of a store's database, as kstate writes them.
const (
	kindValue = 0x01
	kindMeta  = 0xff
)

// metaPosition is the key of a database's position.
const metaPosition = "\xffposition"

// nativeCacheBytes is the block cache of one open part.
const nativeCacheBytes = 8 << 20

// native is the database of one part, open to read.
type native struct {
	db    *pebble.DB
	cache *pebble.Cache
}

// openNative opens a part's files, which must be verified or just copied.
func openNative(fsys FS, dir string, files []File) (n *native, err error) {
	defer recoverDamage(&err)
	n = &native{cache: pebble.NewCache(nativeCacheBytes)}
	n.db, err = pebble.Open(partRoot, &pebble.Options{
		FS:       newPartFS(fsys, dir, files),
		ReadOnly: true,
		Cache:    n.cache,
		Logger:   quietLogger{},
	})
	if err != nil {
		n.cache.Unref()
		return nil, fmt.Errorf("%w: open %s: %w", ErrMalformed, dir, err)
	}
	return n, nil
}

func (n *native) close() error {
	err := n.db.Close()
	n.cache.Unref()
	return err
}

// position reads at which point of the job the content is.
func (n *native) position() (at kstate.Position, err error) {
	defer recoverDamage(&err)
	value, closer, err := n.db.Get([]byte(metaPosition))
	if errors.Is(err, pebble.ErrNotFound) {
		return at, fmt.Errorf("%w: the checkpoint has no position", ErrMalformed)
	}
	if err != nil {
		return at, err
	}
	var stored struct {
		Changelog int64                 `json:"changelog"`
		Sources   []kstate.SourceOffset `json:"sources"`
	}
	if err := errors.Join(json.Unmarshal(value, &stored), closer.Close()); err != nil {
		return at, fmt.Errorf("%w: position: %w", ErrMalformed, err)
	}
	return kstate.Position{Changelog: stored.Changelog, Sources: stored.Sources}, nil
}

// each calls fn for every row in the order of keys, until it returns false. The
// row is valid until fn returns. Deleted markers (P16) are no rows.
func (n *native) each(ctx context.Context, fn func(Row) bool) error {
	it, err := n.rows()
	if err != nil {
		return err
	}
	for valid, more := it.step(it.First); more; valid, more = it.step(it.Next) {
		if !valid || ctx.Err() != nil {
			break
		}
		if it.row.Version != 0 && !fn(it.row) {
			break
		}
	}
	return errors.Join(it.err, ctx.Err(), it.Close())
}

// MaxCounted is how many rows of a part are counted exactly: so many that it
// takes some milliseconds. Of a larger part of a native savepoint the number of
// rows is an upper bound.
const MaxCounted = 100_000

// count counts the rows by their schema version.
func (n *native) count(ctx context.Context) ([]VersionRows, error) {
	counts := make(map[int]int64)
	err := n.each(ctx, func(r Row) bool {
		counts[r.Version]++
		return true
	})
	return sortedRows(counts), err
}

// rowIter walks the rows of a database. Pebble's panics become errors here, and
// only here: those of the caller's code must stay what they are.
type rowIter struct {
	*pebble.Iterator
	row Row
	err error
}

func (n *native) rows() (it *rowIter, err error) {
	defer recoverDamage(&err)
	i, err := n.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindValue}, UpperBound: []byte{kindValue + 1}})
	if err != nil {
		return nil, err
	}
	return &rowIter{Iterator: i}, nil
}

// step moves the iterator and reads the row there. valid is false at the end,
// more after an error.
func (it *rowIter) step(move func() bool) (valid, more bool) {
	it.err = func() (err error) {
		defer recoverDamage(&err)
		if valid = move(); !valid {
			return it.Error()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		c, err := kstate.ParseChangelog(it.Key(), value)
		if err != nil {
			return err
		}
		it.row = Row{Key: c.Key, Version: c.Version, Data: c.Data}
		return nil
	}()
	return valid, it.err == nil
}

// countTable counts the rows of one table by their schema version; some may have
// been written again, or deleted, in a newer one.
func countTable(fsys FS, name string) (rows []VersionRows, err error) {
	defer recoverDamage(&err)
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	readable, err := sstable.NewSimpleReadable(&partFile{ReadFile: f})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o := &pebble.Options{}
	o.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: table %s: %w", ErrMalformed, path.Base(name), err), readable.Close())
	}
	counts := make(map[int]int64)
	err = countRows(r, counts)
	return sortedRows(counts), errors.Join(err, r.Close())
}

func countRows(r *sstable.Reader, counts map[int]int64) error {
	it, err := r.NewIter(sstable.NoTransforms, []byte{kindValue}, []byte{kindValue + 1}, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	for kv := it.First(); kv != nil; kv = it.Next() {
		switch kv.Kind() {
		case pebble.InternalKeyKindSet, pebble.InternalKeyKindSetWithDelete:
		default:
			continue
		}
		value, _, err := kv.Value(nil)
		if err == nil {
			var c kstate.Change
			if c, err = kstate.ParseChangelog(kv.K.UserKey, value); err == nil && !c.Deleted {
				counts[c.Version]++
			}
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// quietLogger drops what Pebble says. Where it cannot go on it panics, which
// recoverDamage turns into an error.
type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}

func (quietLogger) Fatalf(format string, args ...any) {
	panic(fmt.Errorf(format, args...))
}

// recoverDamage makes an error of a panic: files that were made to deceive can
// have right checksums and still break the database's assumptions.
func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrMalformed, r)
	}
}
