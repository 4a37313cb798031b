package kstate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// restoreSuffix marks a directory that is being removed: it is never used, and
// removed when met (P17).
const restoreSuffix = ".restore"

// minRestoreBytes is the least that is sorted and written at once.
const minRestoreBytes = 1 << 20

// accountBytes is how much a restore takes before it says so.
const accountBytes = 256 << 10

// Restore brings a store directory up to the end of its changelog. It is for
// one goroutine. It ends with Finish or Abandon.
type Restore struct {
	env     *Env
	dir     string // where the store will be
	id      Identity
	log     LogBounds
	base    *Base     // nil: the changelog is all there is
	started time.Time // by Env.clock
	release func()

	db      *DB
	reason  string    // why everything is restored; "" if only the tail is
	late    *lateSync // of a full restore
	origin  Origin
	at      writePoint // what the directory said
	next    int64      // the smallest offset that may come
	pending restoreBuffer
	// accounted is what the environment knows that pending takes.
	accounted int64
	ended     bool
}

// Prepare decides how much of a changelog must be read to bring a store
// directory up to its end, by the rules of P17, and wipes a directory that
// cannot be used. It waits, up to 10 s, for another task of this process that is
// still closing the directory (P4, ErrHeld). A directory that a newer procd
// wrote is left alone (ErrNewerFormat).
func (e *Env) Prepare(dir string, id Identity, log LogBounds) (*Restore, error) {
	return e.prepare(dir, id, log, nil)
}

func (e *Env) prepare(dir string, id Identity, log LogBounds, base *Base) (*Restore, error) {
	dir = filepath.Clean(dir)
	release, err := e.hold(dir)
	if err != nil {
		return nil, err
	}
	r := &Restore{env: e, dir: dir, id: id, log: log, base: base, started: e.clock(), release: release}
	e.restores.Add(1)
	if err := r.open(); err != nil {
		r.end()
		release()
		return nil, fmt.Errorf("procd/kstate: open store directory %s: %w", dir, err)
	}
	return r, nil
}

// end notes that the restore is over.
func (r *Restore) end() {
	r.ended = true
	r.pending = restoreBuffer{}
	r.account()
	r.env.restores.Add(-1)
}

// open opens the directory if it can be used, or a new one to fill. A new one is
// filled where it will be, and counts as a store only when it is whole: with its
// format file, which Finish writes last (P17).
func (r *Restore) open() error {
	if err := r.env.fs.RemoveAll(r.dir + restoreSuffix); err != nil {
		return err
	}
	reason, err := r.openLocal()
	if err != nil {
		return err
	}
	if reason == "" {
		r.next, r.origin = r.at.position.Changelog, OriginLocal
		return nil
	}
	r.reason, r.origin = reason, OriginChangelog
	r.at = writePoint{}
	r.next = r.log.Start
	if err := r.env.wipe(r.dir); err != nil {
		return err
	}
	r.late = &lateSync{FS: r.env.fs}
	fill := r.openNew
	if r.base != nil {
		fill = r.openBase
	}
	if err := fill(); err != nil {
		return errors.Join(err, r.discard())
	}
	return nil
}

// discard closes and removes what a full restore has filled so far.
func (r *Restore) discard() (err error) {
	if r.db != nil {
		err = r.db.Close()
	}
	return errors.Join(err, r.env.fs.RemoveAll(r.dir))
}

// openLocal opens the local copy and returns "", or why it cannot be used.
func (r *Restore) openLocal() (reason string, err error) {
	there, err := r.env.exists(r.dir)
	if err != nil {
		return "", err
	}
	if !there {
		return "no local copy", nil
	}
	format, err := r.env.readFormat(r.dir)
	switch {
	case err != nil:
		return "", err
	case format == 0:
		return "local copy is not finished", nil
	case format > storeFormat:
		return "", fmt.Errorf("%w (format %d, this one knows %d)", ErrNewerFormat, format, storeFormat)
	}
	db, err := r.env.openDB(r.dir, nil)
	if unusable(err) {
		return "local copy is damaged: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	reason, err = r.judge(db)
	if reason == "" && err == nil {
		r.db = db
		return "", nil
	}
	closeErr := db.Close()
	if reason != "" {
		return reason, nil // it is wiped next, however it closed
	}
	return "", errors.Join(err, closeErr)
}

// unusable says whether an error means that files are damaged or missing, as
// against a disk that cannot be read now.
func unusable(err error) bool {
	return err != nil && (pebble.IsCorruptionError(err) || errors.Is(err, ErrCorrupt) || errors.Is(err, os.ErrNotExist))
}

// judge reads what the local copy says of itself and returns why it cannot be
// used, or "".
func (r *Restore) judge(db *DB) (reason string, err error) {
	at, have, found, err := db.readMeta()
	if err == nil && found {
		err = db.loadSchemas()
	}
	switch {
	case unusable(err):
		return "local copy is damaged: " + err.Error(), nil
	case err != nil:
		return "", err
	case !found:
		return "local copy has no position", nil
	}
	if reason := have.differs(r.id.stored()); reason != "" {
		return reason, nil
	}
	if r.base != nil {
		if reason, err := r.judgeBase(db); reason != "" || err != nil {
			return reason, err
		}
	}
	r.at = at
	return r.log.refuses(at), nil
}

// refuses says why a copy at a position cannot be brought up to date from this
// log, or "" (P17). Between the position and the end deletes may be missing,
// once their tombstones are older than the retention.
func (log LogBounds) refuses(at writePoint) string {
	switch pos := at.position.Changelog; {
	case pos < log.Start:
		return "position below log start"
	case pos > log.End:
		return "position above log end"
	case pos < log.End && log.Now.Sub(at.caughtUp) > log.DeleteRetention:
		return "older than the tombstone retention"
	}
	return ""
}

func (r *Restore) openNew() error {
	if err := r.env.mkdir(r.dir); err != nil {
		return err
	}
	db, err := r.env.openDB(r.dir, r.late)
	if err == nil {
		r.db = db
	}
	return err
}

// From is the changelog offset to read first.
func (r *Restore) From() int64 { return r.next }

// Reason says why the whole changelog must be read, or is "" where the local
// copy needs its tail only.
func (r *Restore) Reason() string { return r.reason }

// Origin says what the changelog is applied to.
func (r *Restore) Origin() Origin { return r.origin }

// Sources are the source offsets stored with the local copy, or nil.
func (r *Restore) Sources() []SourceOffset { return slices.Clone(r.at.position.Sources) }

// Apply takes the changelog record at offset; a nil value is a tombstone.
// Offsets must grow; gaps are fine, as compaction leaves them. Nothing of key
// and value is kept (S6).
func (r *Restore) Apply(offset int64, key, value []byte) error {
	if r.ended {
		return fmt.Errorf("%w: restore of %s", ErrClosed, r.dir)
	}
	if offset < r.next {
		return fmt.Errorf("%w: restore of %s: offset %d after %d", ErrOrder, r.dir, offset, r.next-1)
	}
	if _, err := ParseChangelog(key, value); err != nil {
		return fmt.Errorf("restore of %s: changelog offset %d: %w", r.dir, offset, err)
	}
	r.next = offset + 1
	return r.buffer(key, value)
}

// buffer takes a record, key with its kind byte, and writes what has piled up.
func (r *Restore) buffer(key, value []byte) error {
	r.pending.put(key, value)
	if r.pending.size < r.accounted+accountBytes {
		return nil
	}
	r.account()
	if r.pending.size < r.env.restoreShare() {
		return nil
	}
	if r.pending.shrink() {
		r.account()
		return nil
	}
	return r.write()
}

// account tells the environment what the buffered records take.
func (r *Restore) account() {
	r.env.used.Add(r.pending.size - r.accounted)
	r.accounted = r.pending.size
}

// write puts the buffered records into Pebble. In a copy that is being caught
// up they carry the changelog position, without source offsets because it need
// not be the end of a transaction; so a crash does not start the tail over. A
// full restore gets its position at the end only.
func (r *Restore) write() error {
	if r.expired(r.next) {
		return r.tooSlow()
	}
	var pairs []pair
	if r.reason == "" {
		var err error
		if pairs, err = (writePoint{position: Position{Changelog: r.next}, caughtUp: r.at.caughtUp}).pairs(); err != nil {
			return err
		}
	}
	return r.writeWith(pairs...)
}

func (r *Restore) writeWith(pairs ...pair) error {
	if err := r.db.settle(); err != nil {
		return err
	}
	err := r.db.write(&r.pending.journal, r.pending.sort(), pairs...)
	r.pending.reset()
	r.account()
	return err
}

// Finish makes the directory valid at pos, which is the end of the changelog
// that was read, and hands it over. After an error the restore is over too, and
// the directory free.
func (r *Restore) Finish(pos Position) (*DB, error) {
	db, err := r.finish(pos)
	if err != nil {
		return nil, errors.Join(err, r.Abandon())
	}
	r.end()
	db.release = r.release
	return db, nil
}

func (r *Restore) finish(pos Position) (*DB, error) {
	if r.ended {
		return nil, fmt.Errorf("%w: restore of %s", ErrClosed, r.dir)
	}
	if pos.Changelog < r.next {
		return nil, fmt.Errorf("%w: restore of %s: finished at %d, but %d was applied", ErrOrder, r.dir, pos.Changelog, r.next-1)
	}
	if r.expired(pos.Changelog) {
		return nil, r.tooSlow()
	}
	at := writePoint{
		position: Position{Changelog: pos.Changelog, Sources: slices.Clone(pos.Sources)},
		caughtUp: r.now(),
	}
	if r.unchanged(at.position) {
		at.caughtUp = r.at.caughtUp // what the disk says, until the next write
	} else if err := r.writeLast(at); err != nil {
		return nil, err
	}
	if r.reason != "" {
		if err := r.complete(); err != nil {
			return nil, err
		}
	}
	r.db.wrote(at)
	r.db.caughtUp, r.db.finished = at.caughtUp, r.now()
	if err := r.db.loadSchemas(); err != nil {
		return nil, err
	}
	if r.base != nil {
		r.db.attached, r.db.baseVersions = true, r.base.Versions
		r.db.startVerifying()
	}
	return r.db, nil
}

// unchanged says whether a local copy already is what it would become: with
// hundreds of stores, writing each only to say so is most of a restart.
func (r *Restore) unchanged(pos Position) bool {
	was := r.at.position
	return r.reason == "" && r.next == was.Changelog && pos.Changelog == was.Changelog && slices.Equal(pos.Sources, was.Sources)
}

// now is the broker's time, as far as this process's clock can tell.
func (r *Restore) now() time.Time {
	return r.log.Now.Add(r.env.clock().Sub(r.started))
}

// expired says whether reading the tail up to an offset took so long that
// tombstones may have gone from it meanwhile (P17). A full restore is not asked:
// where it always takes longer than the retention, asking would repeat it for ever.
func (r *Restore) expired(upTo int64) bool {
	return r.reason == "" && upTo > r.at.position.Changelog && r.now().Sub(r.at.caughtUp) > r.log.DeleteRetention
}

// tooSlow makes sure that the next Prepare restores fully.
func (r *Restore) tooSlow() error {
	err := fmt.Errorf("%w: %s", ErrSlow, r.dir)
	return errors.Join(err, r.db.Close(), r.env.wipe(r.dir))
}

// writeLast writes what is buffered with the final position.
func (r *Restore) writeLast(at writePoint) error {
	pairs, err := at.pairs()
	if err != nil {
		return err
	}
	identity, err := r.id.pair()
	if err != nil {
		return err
	}
	return r.writeWith(append(pairs, identity)...)
}

// complete makes a store of what a full restore has filled.
func (r *Restore) complete() error {
	if err := r.late.settle(r.dir); err != nil {
		return err
	}
	if err := r.env.writeFormat(r.dir); err != nil {
		return err
	}
	r.db.filled()
	return nil
}

// Abandon gives the restore up and lets the directory go. What a full restore
// wrote is removed; what reached the disk of a tail is kept. Abandoning again,
// or after Finish, does nothing.
func (r *Restore) Abandon() error {
	if r.ended {
		return nil
	}
	r.end()
	defer r.release()
	if r.reason != "" {
		return r.discard()
	}
	return r.db.Close()
}

// wipe removes a directory so that a crash midway leaves nothing that looks
// like a store: it is renamed first.
func (e *Env) wipe(dir string) error {
	there, err := e.exists(dir)
	if err != nil || !there {
		return err
	}
	gone := dir + restoreSuffix
	if err := e.fs.RemoveAll(gone); err != nil {
		return err
	}
	if err := e.fs.Rename(dir, gone); err != nil {
		return err
	}
	if err := e.syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	return e.fs.RemoveAll(gone)
}
