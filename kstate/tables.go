package kstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// tableBytes is about the largest size of the tables that a write is cut into,
// before compression. Smaller ones cost more files, larger ones more copying
// where a compaction needs a part of them.
const tableBytes = 16 << 20

// tablePrefix begins the names of tables that are being written and are not the
// database's yet. A crash leaves them; the next open removes them.
const tablePrefix = "procd-table-"

// pair is a record that is not one of the journal's. key has its kind byte; a
// nil value deletes.
type pair struct{ key, value []byte }

// write puts a journal, in its order, and pairs on disk, all or nothing. When
// it returns they are durable.
//
// They do not go through Pebble's memtables, whose skip list costs more than
// everything else together: they are written and synced as tables aside, which
// become part of the database with one edit of its version. Nothing is ever in
// a memtable, so nothing is ever only in memory (S7).
func (db *DB) write(j *journal, order []sortedRef, pairs ...pair) error {
	if err := db.fault(); err != nil {
		return err
	}
	t := tables{db: db}
	err := t.putAll(j, order, pairs)
	if err == nil {
		err = t.finish()
	}
	if err == nil {
		err = db.pebble.Ingest(context.Background(), t.paths)
	}
	if err != nil {
		return t.abandon(fmt.Errorf("%w: %s: %w", ErrBackground, db.dir, err))
	}
	return db.fault()
}

// tables writes sorted records into as many tables as they need.
type tables struct {
	db    *DB
	w     *sstable.Writer // of the last path; nil: the next record begins a table
	size  int
	paths []string
}

// putAll merges the two lists. Where both have a key the pair counts.
func (t *tables) putAll(j *journal, order []sortedRef, pairs []pair) error {
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	for i, o := range order {
		if !j.last(order, i) {
			continue
		}
		key, value := j.record(o.at)
		for len(pairs) > 0 && bytes.Compare(pairs[0].key, key) < 0 {
			if err := t.put(pairs[0].key, pairs[0].value); err != nil {
				return err
			}
			pairs = pairs[1:]
		}
		if len(pairs) > 0 && bytes.Equal(pairs[0].key, key) {
			continue
		}
		if err := t.put(key, value); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		if err := t.put(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) put(key, value []byte) error {
	if t.w == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	t.size += len(key) + len(value)
	var err error
	if value == nil {
		err = t.w.Delete(key)
	} else {
		err = t.w.Set(key, value)
	}
	if err == nil && t.size >= tableBytes {
		return t.finish()
	}
	return err
}

func (t *tables) begin() error {
	fs := t.db.fs
	path := fs.PathJoin(t.db.dir, tablePrefix+strconv.FormatUint(t.db.tables.Add(1), 10))
	f, err := fs.Create(path, "procd-table")
	if err != nil {
		return err
	}
	t.paths = append(t.paths, path)
	t.w, t.size = sstable.NewWriter(objstorageprovider.NewFileWritable(f), t.db.tableOptions), 0
	return nil
}

// finish ends the table at hand and syncs it.
func (t *tables) finish() error {
	if t.w == nil {
		return nil
	}
	w := t.w
	t.w = nil
	return w.Close()
}

// abandon removes what was written.
func (t *tables) abandon(err error) error {
	_ = t.finish() // the error to tell is err
	for _, path := range t.paths {
		_ = t.db.fs.Remove(path) // what stays, the next open removes
	}
	return err
}

// removeTables removes the tables that a crash left unfinished.
func (e *Env) removeTables(dir string) error {
	names, err := e.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tablePrefix) {
			err = errors.Join(err, e.fs.Remove(e.fs.PathJoin(dir, name)))
		}
	}
	return err
}
