package kstate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// verification is the background check of the tables that were linked from a
// live directory: nobody has read them since the savepoint was written (P15).
type verification struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startVerifying begins the check if the store has linked tables.
func (db *DB) startVerifying() {
	if db.base == nil || len(db.base.Linked) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	db.verifying = &verification{cancel: cancel, done: make(chan struct{})}
	db.unverified.Store(true)
	go func() {
		defer close(db.verifying.done)
		db.verifyBase(ctx, *db.base)
	}()
}

// stopVerifying ends the check; it starts over when the store is opened again.
func (db *DB) stopVerifying() {
	if db.verifying == nil {
		return
	}
	db.verifying.cancel()
	<-db.verifying.done
}

// verifyBase reads the linked tables, one store of the process at a time, and
// none before the job is under way, since that takes a core and the disk. A
// damaged one breaks the store, and is removed where it was found too, so that
// the next restore copies the savepoint's.
func (db *DB) verifyBase(ctx context.Context, base storedBase) {
	rest := time.NewTimer(db.env.restAfterStart)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
		return
	}
	select {
	case db.env.verifiers <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-db.env.verifiers }()
	for _, f := range base.Linked {
		err := db.verifyTable(ctx, base.Adopted, f)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			err = errors.Join(err, db.env.fs.Remove(db.env.fs.PathJoin(base.Adopted, f.Name)))
			db.report(Corruption, err)
			return
		}
	}
	db.verified(base)
}

// verifyTable checks a table where it is, or where it was found. In neither
// place means that compactions have replaced it, which check every block.
func (db *DB) verifyTable(ctx context.Context, adopted string, want BaseFile) error {
	for _, dir := range []string{db.dir, adopted} {
		f, err := db.env.fs.Open(db.env.fs.PathJoin(dir, want.Name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		sum, size, err := copyHashed(io.Discard, contextReader{ctx, f})
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if size != want.Size || sum != want.SHA256 {
			return fmt.Errorf("table %s, adopted from %s, differs from the savepoint", want.Name, adopted)
		}
		return nil
	}
	return nil
}

// verified records that nothing is left to check.
func (db *DB) verified(base storedBase) {
	base.Linked, base.Adopted = nil, ""
	p, err := base.pair()
	if err == nil {
		err = db.write(nil, nil, p)
	}
	if err != nil {
		db.report(BackgroundError, err)
		return
	}
	db.unverified.Store(false)
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
