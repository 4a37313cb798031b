package kstate

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"time"
)

// mode is how a store separates its values from user code's (P21).
type mode uint8

const (
	assigns mode = iota // assignment copies: S holds no pointers but strings
	copies              // Type.Copy copies
	decodes             // only decoding the committed bytes afresh does
)

// StoreOptions are the options of NewStore.
type StoreOptions struct {
	// Env is the environment that the store's DB comes from. Nil makes a store
	// that lives in memory only, starts empty, and does everything else that
	// other stores do.
	Env *Env
}

// Store is the state of one operator for one partition: typed values by key.
// It implements Overlay. All its methods are for one goroutine.
type Store[S any] struct {
	uid    string
	typ    Type[S]
	mode   mode
	env    *Env // nil: memory only
	db     *DB  // nil until Open, and in memory
	schema string

	current     int            // the version that Append's bytes carry
	header      []byte         // current as the prefix of a value
	versions    map[int]string // schema texts by version
	readers     []reader[S]    // by version; nil: not needed yet
	schemaKnown bool           // this partition's changelog has the current schema
	schemaSent  bool           // ... once this transaction commits

	entries  index[S]
	hand     clock
	complete bool // every key with a value is in entries: absence needs no read
	grown    bool // entries were added since the last BeginRecord
	bytes    int64

	txn       []change[S] // keys changed in this transaction
	recordLog []saved[S]  // what the record at hand changed of them
	recordTxn int         // length of txn when the record began
	record    uint64      // numbers records and transactions; never goes back
	lent      []*Entry[S] // decoded values that user code has
	copies    []S         // copies that user code has until the record ends
	arg       S
	keyBuf    []byte
	valueBuf  []byte
	out       arena // the records that Changes handed out
	encoded   bool  // Changes has seen the transaction as it is

	live     int64 // keys with a value
	pos      Position
	posDirty bool
	journal  *journal
	spare    *journal
	written  uint32 // the last journal that can be read from Pebble
	flushTo  uint32 // the last journal that StartFlush asked for

	attached    bool      // the state needs its base (P16)
	swept       []swept   // what this transaction's sweep writes anew
	sweepOut    arena     // the records that it handed out
	sweepSize   int       // their bytes
	sweptSchema bool      // they hold the current schema's record
	markersIn   uint32    // the last journal that may hold deleted markers
	inFlight    *write    // the background write; nil: none
	now         time.Time // of the last Tick
	owned       time.Time // when the task was certainly ours, as of the last Tick
	oldest      time.Time // of the first commit since the last write
	caughtUp    time.Time // as the last write says
	err         error     // the store is broken
	closed      bool
}

type reader[S any] func(data []byte, v *S) error

var _ Overlay = (*Store[int])(nil)

// NewStore makes the store of the operator uid. A store with an Env must be
// opened before it is used.
func NewStore[S any](uid string, t Type[S], o StoreOptions) *Store[S] {
	s := &Store[S]{
		uid:      uid,
		typ:      t,
		mode:     modeOf(t),
		env:      o.Env,
		schema:   t.Schema(),
		entries:  newIndex[S](),
		complete: true,
		record:   1,
		journal:  &journal{gen: 1},
		spare:    &journal{},
	}
	s.setVersion(1)
	s.versions = map[int]string{1: s.schema}
	return s
}

func modeOf[S any](t Type[S]) mode {
	var dst, src S
	switch {
	case !t.Copy(&dst, &src):
		return decodes
	case assignable(reflect.TypeFor[S]()):
		return assigns
	}
	return copies
}

// assignable says whether an assignment makes an independent copy. Strings do:
// nobody can change one.
func assignable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return assignable(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !assignable(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.String:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface,
		reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	}
	return true
}

func (s *Store[S]) setVersion(current int) {
	s.current = current
	s.header = binary.AppendUvarint(s.header[:0], uint64(current))
}

// UID is the uid of the operator that owns the store.
func (s *Store[S]) UID() string { return s.uid }

// Schema is the Avro schema of the values that the store writes.
func (s *Store[S]) Schema() string { return s.schema }

// Dirty is the number of keys changed in this transaction.
func (s *Store[S]) Dirty() int { return len(s.txn) }

// Open attaches the restored database. versions are all schema versions of the
// store that are known to the generation, current is the one of Schema (P18).
func (s *Store[S]) Open(db *DB, versions []SchemaVersion, current int) error {
	if s.env == nil || s.db != nil || s.entries.n > 0 {
		return fmt.Errorf("%w: store %s: Open wants a fresh store with an Env", ErrOrder, s.uid)
	}
	known, err := mergeVersions(s.uid, versions, db.SchemaVersions(), db.baseVersions)
	if err != nil {
		return err
	}
	if known[current] != s.schema {
		return fmt.Errorf("%w: store %s writes %s, but version %d is %q", ErrSchema, s.uid, s.schema, current, known[current])
	}
	empty, err := db.empty()
	if err != nil {
		return err
	}
	s.db = db
	s.versions = known
	s.readers = nil
	s.setVersion(current)
	s.schemaKnown = db.hasSchema(current)
	s.complete = empty
	if !empty {
		s.live = db.estimateKeys()
	}
	s.attached = db.attached
	s.pos = db.Position()
	s.caughtUp = db.caughtUp
	s.now, s.owned = db.finished, db.finished
	return nil
}

// mergeVersions joins the schemas that the generation knows with those found in
// the partition, which must agree.
func mergeVersions(uid string, lists ...[]SchemaVersion) (map[int]string, error) {
	known := make(map[int]string)
	for _, list := range lists {
		for _, v := range list {
			if v.Version < 1 || v.Version > maxVersion {
				return nil, fmt.Errorf("%w: store %s: schema version %d is out of range", ErrSchema, uid, v.Version)
			}
			if have, ok := known[v.Version]; ok && have != v.Schema {
				return nil, fmt.Errorf("%w: store %s has two schemas of version %d: %s and %s", ErrSchema, uid, v.Version, have, v.Schema)
			}
			known[v.Version] = v.Schema
		}
	}
	return known, nil
}

// Stats describes the store's size. It is not for every commit: the size on
// disk is asked of Pebble.
func (s *Store[S]) Stats() Stats {
	st := Stats{Entries: s.live, CacheBytes: s.bytes, UnwrittenBytes: s.journal.size}
	if s.inFlight != nil {
		st.UnwrittenBytes += s.inFlight.bytes
	}
	if s.db != nil {
		st.DiskBytes = s.db.diskBytes()
	}
	return st
}

// fail breaks the store for good: nothing of it commits any more.
func (s *Store[S]) fail(err error) {
	if s.err == nil {
		s.err = err // stays nil if err is
	}
}

func (s *Store[S]) keyError(key []byte, err error) error {
	return &KeyError{Store: s.uid, Key: append([]byte(nil), key...), Err: err}
}
