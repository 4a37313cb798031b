package kstate

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// fault is what broke the database in the background; nil while it is well.
func (db *DB) fault() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.err
}

// report keeps the first fault of a kind and tells the environment (S9).
func (db *DB) report(kind EventKind, cause error) {
	sentinel := ErrBackground
	if kind == Corruption {
		sentinel = ErrCorrupt
	}
	db.mu.Lock()
	if db.err == nil {
		db.err = fmt.Errorf("%w: %s: %w", sentinel, db.dir, cause)
		close(db.broken)
	}
	db.corrupt = db.corrupt || kind == Corruption
	db.mu.Unlock()
	db.env.event(kind, db.dir, cause.Error())
}

// readError explains an error of a read, which may have found corruption.
func (db *DB) readError(err error) error {
	if pebble.IsCorruptionError(err) {
		db.report(Corruption, err)
		return db.fault()
	}
	return fmt.Errorf("procd/kstate: read %s: %w", db.dir, err)
}

// listener turns what Pebble tells into faults and events.
func (db *DB) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			kind := BackgroundError
			if pebble.IsCorruptionError(err) {
				kind = Corruption
			}
			db.report(kind, err)
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) { db.report(Corruption, i.Details) },
		CompactionEnd: func(pebble.CompactionInfo) {
			select {
			case db.compacted <- struct{}{}:
			default:
			}
		},
		DiskSlow: func(i pebble.DiskSlowInfo) { db.env.event(DiskSlow, db.dir, i.String()) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			db.env.event(WriteStall, db.dir, i.String())
		},
	}
}

// pebbleLogger keeps Pebble quiet: what matters arrives as events.
type pebbleLogger struct{ db *DB }

func (pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.db.env.log.Warn("store: pebble", "dir", l.db.dir, "detail", fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on. It must not return (S9).
func (l pebbleLogger) Fatalf(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	l.db.env.fatal(l.db.dir, reason)
	panic("procd/kstate: EnvOptions.OnFatal returned after: " + reason)
}
