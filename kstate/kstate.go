package kstate

import "time"

// Type says how a store treats values of type S: their Avro schema, their
// bytes, and whether a plain assignment makes an independent copy.
type Type[S any] interface {
	// Schema is the Avro schema, as canonical JSON, that Append writes. The
	// name of a top-level record is "state" (comparison ignores it).
	Schema() string
	// Append appends the Avro binary encoding of v (no version prefix) to dst.
	Append(dst []byte, v *S) ([]byte, error)
	// Reader returns the function that decodes values written with the given
	// schema into an S, by Avro's resolution rules; an error if there is no way.
	// The function overwrites *v whole and keeps no reference to data.
	Reader(writer string) (func(data []byte, v *S) error, error)
	// Copy makes *dst an independent copy of *src, reusing what *dst owns, and
	// returns true. It returns false, having done nothing, where S holds
	// pointers that only decoding afresh can separate (P21).
	Copy(dst, src *S) bool
}

// Position says to which point of the job the content of a store belongs.
type Position struct {
	// Changelog is the offset, in the store's changelog partition, of the next
	// record that the content does not hold yet.
	Changelog int64
	// Sources are the offsets that the task had committed at that point: the
	// next record of each input partition.
	Sources []SourceOffset
}

// SourceOffset is the next offset to read of one input partition.
type SourceOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// SchemaVersion is one numbered schema of a store (P18). Numbers start at 1.
type SchemaVersion struct {
	Version int
	Schema  string
}

// Identity is what a store directory must have been made for to be usable.
type Identity struct {
	Store      string
	Partition  int32
	Generation int
	TopicID    [16]byte // of the changelog topic
}

// LogBounds describes a changelog partition at the moment of assignment.
type LogBounds struct {
	Start, End      int64         // read_uncommitted log start and high watermark (S3)
	DeleteRetention time.Duration // delete.retention.ms of the topic (P17)
	Now             time.Time     // broker time
}

// Overlay is what the engine sees of a typed store: everything that happens
// per transaction. One goroutine, the worker's, calls it.
//
// In one transaction the order is: any number of reads and changes by the
// operators; Changes once; then Commit or Abort. Abort is also right without
// Changes.
type Overlay interface {
	UID() string
	Schema() string
	// Open attaches the restored database and the known schema versions;
	// current is the version that Append's bytes are labelled with.
	Open(db *DB, versions []SchemaVersion, current int) error
	// Dirty is the number of keys changed in this transaction.
	Dirty() int
	// Peek returns the committed state of a key, schema version in front, nil if
	// it has none. Between transactions only; it changes nothing.
	Peek(key []byte) (value []byte, err error)
	// Changes encodes each key changed in this transaction and hands its
	// changelog record to emit, the schema record first where this partition
	// has none yet (P18). key and value stay valid until Commit or Abort; a nil
	// value is a tombstone. An error of one key is a *KeyError.
	Changes(emit func(key, value []byte) error) error
	// Commit says that the transaction is known to have committed; pos is the
	// position after it. Committed changes become the base of the next
	// transaction and are written to disk later, in the background.
	Commit(pos Position)
	// Abort drops what this transaction changed (P21).
	Abort()
	// Tick lets the store write committed entries in the background where
	// their age or size asks for it. It never blocks on the disk, and returns
	// the error of an earlier background write. owned is the last time, by the
	// broker's clock as near as the caller knows it, at which the task was
	// certainly the caller's: it is recorded as when the copy was caught up
	// (P17), so a worker that lost the task without knowing must not pass now.
	Tick(now, owned time.Time) error
	// Flush writes all committed entries and their position, and waits.
	Flush() error
	// Instance is the random id that was made with the store's directory (P14).
	Instance() string
	// StartFlush begins to write, in the background, all that is committed so
	// far; Flushed says whether it is on disk. Called before a cut, they leave
	// Checkpoint little to write. Between transactions, like Tick.
	StartFlush()
	Flushed() bool
	// Checkpoint flushes and makes a checkpoint of the database in dir, which
	// must not be there; on the disk of the store its tables are hard links. It
	// returns the position that the checkpoint holds: that of the last Commit.
	Checkpoint(dir string) (Position, error)
	// Attached says whether the state still needs the base savepoint that it
	// was made from (P16).
	Attached() bool
	// Sweep hands out, in the open transaction, the changelog records of keys
	// from cursor on (nil: the first) that the changelog may not hold, with
	// their current value in the current schema, at most maxKeys of them. next
	// is the cursor to go on from once the transaction has committed, done says
	// that nothing is left and that the base is verified. Called after the
	// transaction's records were processed and before Changes; key and value
	// stay valid until Commit or Abort.
	Sweep(cursor []byte, maxKeys int, emit func(key, value []byte) error) (next []byte, done bool, err error)
	// Detach says that the position record that marks the partition as detached
	// has committed: deletes are tombstones from now on.
	Detach()
	// SweepMarkers is like Sweep, after Detach: it turns the deleted markers
	// that were written while attached into tombstones.
	SweepMarkers(cursor []byte, maxKeys int, emit func(key, value []byte) error) (next []byte, done bool, err error)
	// Close releases the store; with flush it writes committed entries first.
	Close(flush bool) error
	Stats() Stats
}

// Stats describes a store's size.
type Stats struct {
	Entries        int64 // keys with a value, an estimate where keys are on disk only
	DiskBytes      int64
	CacheBytes     int64
	UnwrittenBytes int64 // committed, not yet on local disk
}
