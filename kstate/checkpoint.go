package kstate

import "fmt"

// Instance is the random id of the store's database, "" in memory.
func (s *Store[S]) Instance() string {
	if s.db == nil {
		return ""
	}
	return s.db.Instance()
}

// StartFlush begins to write, in the background, all that is committed so far.
// Tick goes on with it where an earlier write is still under way.
func (s *Store[S]) StartFlush() {
	if s.db == nil || s.err != nil {
		return
	}
	s.collect(false)
	s.flushTo = s.journal.gen
	if !s.posDirty {
		s.flushTo-- // nothing since the last write, which may be under way
	}
	s.goOnFlushing()
}

// Flushed says whether what StartFlush was called for is on disk, or the store
// is broken, as the next call of Tick or Checkpoint says.
func (s *Store[S]) Flushed() bool {
	if s.db == nil {
		return true
	}
	s.collect(false)
	s.goOnFlushing()
	return s.err != nil || s.written >= s.flushTo
}

func (s *Store[S]) goOnFlushing() {
	if s.err == nil && s.inFlight == nil && s.flushTo == s.journal.gen {
		s.startWrite()
	}
}

// Checkpoint flushes and makes a checkpoint of the database in dir, which must
// not be there and is best on the disk of the store: then its tables are hard
// links. It returns the position of the checkpoint, which holds all that is
// committed and nothing of the transaction that may be open (P14, S7). Its time
// does not depend on the size of the store, only on what is unwritten.
func (s *Store[S]) Checkpoint(dir string) (Position, error) {
	if s.db == nil {
		return Position{}, fmt.Errorf("%w: checkpoint of store %s, which has no directory", ErrOrder, s.uid)
	}
	if err := s.Flush(); err != nil {
		return Position{}, err
	}
	// No write is under way and only this goroutine starts one, so what the
	// database holds is what it says.
	if err := s.db.Checkpoint(dir); err != nil {
		return Position{}, err
	}
	return s.db.Position(), nil
}

// Checkpoint makes a copy of the database as it is on disk. Its tables are hard
// links where dir is on the same disk, so it is not fit to be kept (S8). What
// is not flushed is missing (S7): [Store.Checkpoint] flushes.
//
// Compactions rest from then on: a table that they replaced would be copied once
// more at a savepoint's cut, and could not be linked by the start after it (P15).
func (db *DB) Checkpoint(dir string) error {
	if err := db.fault(); err != nil {
		return err
	}
	db.rest(restAfterCheckpoint)
	err := db.pebble.Checkpoint(dir)
	if err == nil {
		err = db.env.writeFormat(dir)
	}
	if err != nil {
		return fmt.Errorf("procd/kstate: checkpoint %s in %s: %w", db.dir, dir, err)
	}
	return nil
}
