package kstate

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleFormat is the format major version of every store, by its name: a newer
// Pebble must not change what is on disk by itself. Raising it means a new
// storeFormat.
const pebbleFormat = pebble.FormatTableFormatV6

// memTableBytes is small because memtables are not used: see DB.write.
const memTableBytes = 64 << 10

// DB is the restored local copy of one store and partition. Restore.Finish
// makes it; a Store takes it over with Open and closes it.
type DB struct {
	env      *Env
	dir      string
	instance string
	pebble   *pebble.DB
	release  func()    // lets the directory go
	caughtUp time.Time // as the disk says
	finished time.Time // when the restore was, by the broker's clock

	attached     bool            // the state needs its base (P16)
	base         *storedBase     // nil: made without one, or not asked for
	baseVersions []SchemaVersion // what the base's values may be written with
	verifying    *verification   // nil: nothing to verify
	unverified   atomic.Bool

	fs           vfs.FS // of dir; syncs late while the directory is being filled
	filling      bool   // nobody reads it yet
	compactions  compactions
	resting      *time.Timer // ends the rest of compactions
	tableOptions sstable.WriterOptions
	tables       atomic.Uint64 // numbers the tables that are being written
	compacted    chan struct{} // holds a token if a compaction has ended

	broken chan struct{} // closed with the first fault

	mu       sync.Mutex
	position Position
	schemas  []SchemaVersion // in order of version
	err      error           // the first fault
	corrupt  bool
	closed   bool
}

// How soon a database merges the tables that are written to it: the numbers of
// tables that a read may have to look at, one after the other, from which on
// that begins and is waited for. Ingesting is never held back by Pebble, which
// begins at half of compactFrom already.
const (
	compactFrom, compactWait = 8, 20
	restLimit                = 16 // ends a rest of compactions
	// While a directory is being filled.
	fillFrom, fillWait = 32, 64
)

// openDB opens a directory, or makes it. With late, which is its file system
// then, it is one to be filled.
func (e *Env) openDB(dir string, late *lateSync) (*DB, error) {
	db := &DB{env: e, dir: dir, fs: e.fs, broken: make(chan struct{}), compacted: make(chan struct{}, 1)}
	db.resting = time.AfterFunc(math.MaxInt64, func() { db.compactions.hold(false) })
	if late != nil {
		db.fs, db.filling, db.compactions.held = late, true, true
	}
	if err := e.removeTables(dir); err != nil {
		return nil, err
	}
	o := e.pebbleOptions(db)
	o.EnsureDefaults()
	p, err := pebble.Open(dir, o)
	if err != nil {
		return nil, err
	}
	db.pebble = p
	db.tableOptions = o.MakeWriterOptions(0, pebbleFormat.MaxTableFormat())
	if db.instance, err = e.ensureInstance(db.fs, dir); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return db, nil
}

// filled is called when the directory is whole. What can wait until the job is
// under way does.
func (db *DB) filled() {
	db.filling = false
	db.rest(db.env.restAfterStart)
}

// rest keeps compactions from beginning for a while, unless they get too far
// behind.
func (db *DB) rest(d time.Duration) {
	db.compactions.hold(true)
	db.resting.Reset(d)
}

func (e *Env) pebbleOptions(db *DB) *pebble.Options {
	o := &pebble.Options{
		FS:                          db.fs,
		Cache:                       e.cache,
		FileCache:                   e.files,
		DisableWAL:                  true, // the changelog is the log
		FormatMajorVersion:          pebbleFormat,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 2,
		Logger:                      pebbleLogger{db},
		EventListener:               db.listener(),
		L0CompactionThreshold:       compactFrom,
		L0StopWritesThreshold:       compactWait,
	}
	o.Experimental.CompactionScheduler = &db.compactions
	for i := range o.Levels {
		// Most lookups of a store are for keys that are not there yet.
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// Position is the point that the content on disk belongs to.
func (db *DB) Position() Position {
	db.mu.Lock()
	defer db.mu.Unlock()
	return Position{Changelog: db.position.Changelog, Sources: slices.Clone(db.position.Sources)}
}

// SchemaVersions are the schemas that the store's changelog partition has, in
// order of version.
func (db *DB) SchemaVersions() []SchemaVersion {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.schemas)
}

func (db *DB) hasSchema(version int) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.ContainsFunc(db.schemas, func(v SchemaVersion) bool { return v.Version == version })
}

// Get returns a copy of a key's value with its schema version in front, or nil
// if there is none.
func (db *DB) Get(key []byte) ([]byte, error) {
	value, closer, err := db.get(AppendKey(nil, key))
	if value == nil || err != nil {
		return nil, err
	}
	if isMarker(value) {
		return nil, closer.Close()
	}
	value = slices.Clone(value)
	return value, closer.Close()
}

// get reads a key with its kind byte. The value is valid until closer is
// closed; it is nil if there is none.
func (db *DB) get(key []byte) (value []byte, closer io.Closer, err error) {
	value, closer, err = db.pebble.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, db.readError(err)
	}
	return value, closer, nil
}

// Each calls fn for every key of the store and its value, which starts with the
// schema version, in key order. Both are valid until fn returns. Schemas and
// metadata are not keys (S11), and deleted markers are not values (P16).
func (db *DB) Each(fn func(key, value []byte) error) error {
	return db.scan(kindValue, func(key, value []byte) error {
		if isMarker(value) {
			return nil
		}
		return fn(key, value)
	})
}

// scan walks the keys of one kind, without the kind byte.
func (db *DB) scan(kind byte, fn func(key, value []byte) error) error {
	o := &pebble.IterOptions{LowerBound: []byte{kind}}
	if kind < kindMeta {
		o.UpperBound = []byte{kind + 1}
	}
	it, err := db.pebble.NewIter(o)
	if err != nil {
		return db.readError(err)
	}
	for valid := it.First(); valid && err == nil; valid = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = fn(it.Key()[1:], value)
		}
	}
	if itErr := it.Close(); itErr != nil {
		return db.readError(itErr)
	}
	return err
}

// errStop ends a scan early.
var errStop = errors.New("stop")

// empty says whether no key has a value.
func (db *DB) empty() (bool, error) {
	err := db.Each(func(_, _ []byte) error { return errStop })
	if errors.Is(err, errStop) {
		return false, nil
	}
	return err == nil, err
}

// loadSchemas reads the schemas that are on disk.
func (db *DB) loadSchemas() error {
	var found []SchemaVersion
	err := db.scan(kindSchema, func(number, value []byte) error {
		c, err := parseSchema(number, value)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		found = append(found, SchemaVersion{Version: c.Version, Schema: string(c.Data)})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b SchemaVersion) int { return a.Version - b.Version })
	db.mu.Lock()
	defer db.mu.Unlock()
	db.schemas = found
	return nil
}

// estimateKeys guesses the number of keys from the tables' properties.
func (db *DB) estimateKeys() int64 {
	levels, err := db.pebble.SSTables(pebble.WithProperties())
	if err != nil {
		return 0 // an estimate is not worth an error
	}
	var n int64
	for _, tables := range levels {
		for _, t := range tables {
			n += int64(t.Properties.NumEntries) - 2*int64(t.Properties.NumDeletions)
		}
	}
	return max(0, n-metaKeys-int64(len(db.SchemaVersions())))
}

// metaKeys is the number of kindMeta keys in every store.
const metaKeys = 2

func (db *DB) diskBytes() int64 {
	return int64(db.pebble.Metrics().DiskSpaceUsage())
}

// writeJournal writes committed entries with the point that they belong to.
func (db *DB) writeJournal(j *journal, at writePoint) error {
	point, err := at.pairs()
	if err != nil {
		return err
	}
	if err := db.settle(); err != nil {
		return err
	}
	db.env.writers <- struct{}{}
	defer func() { <-db.env.writers }()
	if err := db.write(j, j.sorted(nil), point...); err != nil {
		return err
	}
	db.wrote(at)
	return nil
}

// settle waits while compactions have too much to catch up with.
func (db *DB) settle() error {
	if !db.filling {
		if db.sublevels() >= restLimit {
			db.compactions.hold(false)
		}
		return db.settleBelow(compactWait)
	}
	db.compactions.hold(db.sublevels() < fillFrom)
	return db.settleBelow(fillWait)
}

func (db *DB) settleBelow(wait int) error {
	for db.sublevels() >= wait {
		select {
		case <-db.compacted:
		case <-db.broken:
			return db.fault()
		}
	}
	return nil
}

func (db *DB) sublevels() int { return int(db.pebble.Metrics().Levels[0].Sublevels) }

// wrote remembers what a write said.
func (db *DB) wrote(at writePoint) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.position = at.position
	has := func(v SchemaVersion) bool { return v.Version == at.schema.Version }
	if at.schema.Version != 0 && !slices.ContainsFunc(db.schemas, has) {
		db.schemas = append(db.schemas, at.schema)
	}
}

// Close closes the database and lets its directory go. A corrupt one is wiped,
// so that it is restored (S9). Closing again does nothing.
func (db *DB) Close() error {
	db.mu.Lock()
	closed, corrupt := db.closed, db.corrupt
	db.closed = true
	db.mu.Unlock()
	if closed {
		return nil
	}
	if db.release != nil {
		defer db.release()
	}
	db.stopVerifying()
	db.resting.Stop()
	err := db.pebble.Close()
	if corrupt {
		return db.env.wipe(db.dir)
	}
	if err != nil {
		return fmt.Errorf("procd/kstate: close %s: %w", db.dir, err)
	}
	return nil
}
