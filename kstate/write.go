package kstate

import (
	"fmt"
	"slices"
	"time"
)

// caughtUpEvery is how often the time that a copy was last known to be caught
// up is written where nothing else is (P17).
const caughtUpEvery = time.Hour

// pressureBytes is the smallest journal that memory pressure writes: below it
// the write would cost more than the memory is worth.
const pressureBytes = 256 << 10

// write is a journal on its way to the disk.
type write struct {
	journal *journal
	gen     uint32
	bytes   int64
	done    chan error // gets the result, once
}

// writeDue says whether a background write should start now.
func (s *Store[S]) writeDue() bool {
	if s.inFlight != nil {
		return false
	}
	if s.flushTo == s.journal.gen || s.posDirty && s.now.Sub(s.oldest) >= s.env.writeEvery {
		return true
	}
	if s.journal.size >= pressureBytes && (s.env.over() || s.journal.size >= s.env.writeBack/4) {
		return true
	}
	return s.owned.Sub(s.caughtUp) >= caughtUpEvery
}

// startWrite hands the journal to the background. The worker goes on with the
// spare one.
func (s *Store[S]) startWrite() {
	w := &write{journal: s.journal, gen: s.journal.gen, bytes: s.journal.size, done: make(chan error, 1)}
	s.inFlight = w
	s.journal, s.spare = s.spare, nil
	s.journal.gen = w.gen + 1
	s.posDirty = false
	s.caughtUp = s.owned
	at := writePoint{
		position: Position{Changelog: s.pos.Changelog, Sources: slices.Clone(s.pos.Sources)},
		caughtUp: s.owned,
	}
	if s.schemaKnown {
		at.schema = SchemaVersion{Version: s.current, Schema: s.schema}
	}
	db := s.db
	go func() {
		err := db.writeJournal(w.journal, at)
		w.journal.reset() // here, because a large one takes a while
		w.done <- err
	}()
}

// collect takes the result of the background write, if it has ended or if told
// to wait for it.
func (s *Store[S]) collect(wait bool) {
	w := s.inFlight
	if w == nil {
		return
	}
	var err error
	if wait {
		err = <-w.done
	} else {
		select {
		case err = <-w.done:
		default:
			return
		}
	}
	s.inFlight, s.spare = nil, w.journal
	s.env.used.Add(-w.bytes)
	if err != nil {
		s.fail(fmt.Errorf("procd/kstate: store %s: %w", s.uid, err))
		return
	}
	s.written = w.gen
}

// relieve makes Commit wait for the disk where it cannot follow at all.
func (s *Store[S]) relieve() {
	if s.inFlight == nil || s.journal.size+s.inFlight.bytes <= s.env.writeBack {
		return
	}
	s.collect(true)
	if s.err == nil {
		s.startWrite()
	}
}

// Flush writes all committed entries and their position, and waits.
func (s *Store[S]) Flush() error {
	if s.db == nil {
		return s.err
	}
	s.collect(true)
	if s.err == nil && s.posDirty {
		s.startWrite()
		s.collect(true)
	}
	return s.err
}

// Close releases the store and its DB; with flush it writes committed entries
// first. The DB is closed even if that fails. Closing again does nothing.
func (s *Store[S]) Close(flush bool) error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.db == nil {
		return nil
	}
	var err error
	if flush {
		err = s.Flush()
	}
	s.collect(true)
	s.env.used.Add(-s.bytes - s.journal.size)
	closeErr := s.db.Close()
	s.db = nil
	s.fail(ErrClosed)
	if err == nil {
		err = closeErr
	}
	return err
}
