package savepoint

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that there is no complete savepoint at a place: no
	// directory, or one without a manifest.
	ErrNotFound = errors.New("procd/savepoint: no such savepoint")

	// ErrNewerFormat says that a newer procd wrote the savepoint. Use that
	// version, or a later one.
	ErrNewerFormat = errors.New("procd/savepoint: written by a newer version of procd; use that version or a later one")

	// ErrKey says that a text is no key of the type that a store has.
	ErrKey = errors.New("procd/savepoint: not a key of this store")

	// ErrDamaged says that bytes of a savepoint are not those that were
	// written. The error is a [*DamageError] for each file, which names it.
	ErrDamaged = errors.New("procd/savepoint: savepoint is damaged")

	// ErrInvalid says that a manifest contradicts itself, or says what no
	// manifest may say.
	ErrInvalid = errors.New("procd/savepoint: manifest is invalid")

	// ErrExists says that the savepoint is complete already: an earlier attempt
	// got there first, and what it wrote counts (P14).
	ErrExists = errors.New("procd/savepoint: savepoint exists already")

	// ErrNotShared says that this process does not see the directory that the
	// coordinator writes to (P13). Every process needs the same location: a
	// network file system, or a volume that all of them mount.
	ErrNotShared = errors.New("procd/savepoint: savepoint location is not shared by all processes of the job")

	// ErrSuperseded says that the attempt's directory is gone: it was given up,
	// or a later attempt took over (P14).
	ErrSuperseded = errors.New("procd/savepoint: attempt was given up or superseded")

	// ErrDisagree says that stores of one task were checkpointed at different
	// source offsets, so they belong to different points of the job (P14).
	ErrDisagree = errors.New("procd/savepoint: stores of one task disagree about its source offsets")

	// ErrName says that a name may not be used inside of a savepoint.
	ErrName = errors.New("procd/savepoint: name not allowed")

	// ErrNotRegular says that something in a savepoint is neither a regular file
	// nor a directory. Links are not followed.
	ErrNotRegular = errors.New("procd/savepoint: not a regular file or directory; links are not followed")

	// ErrTooLarge says that something is larger than the format allows (D3).
	ErrTooLarge = errors.New("procd/savepoint: larger than the format allows")

	// ErrMalformed says that bytes inside a file are not what the format allows.
	ErrMalformed = errors.New("procd/savepoint: malformed data")

	// ErrNoStore says that a savepoint has no such store or partition.
	ErrNoStore = errors.New("procd/savepoint: savepoint has no such store or partition")
)

// DamageError is one damaged, missing or additional file of a savepoint. It
// wraps [ErrDamaged].
type DamageError struct {
	Savepoint string // id, or path where the id cannot be read
	File      string // inside of the savepoint
	Problem   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("procd/savepoint: savepoint %s is damaged: %s: %s", e.Savepoint, e.File, e.Problem)
}

func (e *DamageError) Unwrap() error { return ErrDamaged }
