package kstate

import (
	"errors"
	"fmt"
)

var (
	// ErrIsolate says that a change of the record at hand cannot be undone
	// alone: abort the transaction and replay it with one record per commit
	// (P22). It happens only to types whose values plain code cannot copy.
	ErrIsolate = errors.New("procd/kstate: the record's changes cannot be undone one by one; abort, and replay with one record per commit")

	// ErrHeld says that another holder of the directory did not let go in time (P4).
	ErrHeld = errors.New("procd/kstate: store directory is still in use by another task of this process")

	// ErrNewerFormat says that a directory was written by a newer procd. It is
	// left as it is: run that version, or remove the directory to restore from
	// the changelog.
	ErrNewerFormat = errors.New("procd/kstate: store directory was written by a newer version of procd; run that version, or remove the directory to restore it from the changelog")

	// ErrSlow says that restoring took so long that deletes may have been
	// compacted away meanwhile (P17). Prepare again: it restores fully.
	ErrSlow = errors.New("procd/kstate: the local copy became older than the changelog's delete.retention.ms while it was restored; restore again")

	// ErrBase says that a savepoint's part cannot be read, or is not what the
	// manifest says. Nothing is started without it (P16): verify the savepoint,
	// and start from one that is whole.
	ErrBase = errors.New("procd/kstate: the base savepoint cannot be used")

	// ErrOrder says that a call came out of the order that the package requires.
	ErrOrder = errors.New("procd/kstate: called out of order")

	// ErrSchema says that a store's schemas contradict each other.
	ErrSchema = errors.New("procd/kstate: schemas do not match")

	// ErrCorrupt says that local data failed a check. Close the store, which
	// wipes it, and restore (S9).
	ErrCorrupt = errors.New("procd/kstate: local copy of the store is corrupt; it is wiped when closed, restore it from the changelog")

	// ErrBackground says that a write in the background failed: the disk is
	// full, slow or gone.
	ErrBackground = errors.New("procd/kstate: background write failed")

	// ErrMalformed says that bytes are not what the format allows.
	ErrMalformed = errors.New("procd/kstate: malformed record")

	// ErrClosed says that the store, database or environment was closed before.
	ErrClosed = errors.New("procd/kstate: closed")
)

// KeyError is an error that one key's state caused, not the store: its bytes
// do not decode, or its value does not encode (P22).
type KeyError struct {
	Store string
	Key   []byte
	Err   error
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("procd/kstate: store %s, key %q: %v", e.Store, e.Key, e.Err)
}

func (e *KeyError) Unwrap() error { return e.Err }
