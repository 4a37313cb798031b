package kstate

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of EnvOptions.
const (
	DefaultBlockCacheBytes = 64 << 20
	DefaultWriteBackBytes  = 256 << 20
	DefaultWriteEvery      = 3 * time.Second
	DefaultMaxOpenFiles    = 1000
)

// EnvOptions are the options of NewEnv. The zero value is usable.
type EnvOptions struct {
	// FS is the file system of all stores. Nil: the disk.
	FS vfs.FS
	// BlockCacheBytes is the size of Pebble's block cache, shared by all
	// stores; their memtables are cut from it. 0: DefaultBlockCacheBytes.
	BlockCacheBytes int64
	// WriteBackBytes is what the decoded entries and the committed but
	// unwritten bytes of all stores may take together. What one transaction
	// changes comes on top, because it can be neither written nor dropped.
	// 0: DefaultWriteBackBytes.
	WriteBackBytes int64
	// WriteEvery is how long a commit may stay in memory only, and so about how
	// much of the changelog is read again after a crash. 0: DefaultWriteEvery.
	WriteEvery time.Duration
	// MaxOpenFiles bounds the open table files of all stores together (S10).
	// 0: DefaultMaxOpenFiles.
	MaxOpenFiles int
	// Logger gets what Pebble does in the background and nobody called for.
	// Nil: nothing is logged.
	Logger *slog.Logger
	// OnEvent, if set, is told what happens to stores in the background. It is
	// called from Pebble's goroutines and must not block.
	OnEvent func(Event)
	// OnFatal is called where Pebble cannot go on, for example because the
	// MANIFEST could not be synced: from there on the disk may differ from
	// memory in ways that only a restart, with a restore, repairs. It must end
	// the process. Nil: exit status 1, after the reason was logged and written
	// to standard error.
	OnFatal func(reason string)
}

// Event is something that happened to a store in the background.
type Event struct {
	Kind   EventKind
	Dir    string // the store's directory
	Detail string
}

func (e Event) String() string { return fmt.Sprintf("%s: %s: %s", e.Dir, e.Kind, e.Detail) }

// EventKind says what happened.
type EventKind string

// The kinds of events. Corruption and BackgroundError break the store, whose
// Tick returns them; the others are for people to see.
const (
	Corruption      EventKind = "corruption"
	BackgroundError EventKind = "background error"
	DiskSlow        EventKind = "disk slow"
	WriteStall      EventKind = "write stall"
)

// holdWait is how long Prepare waits for the previous holder of a directory
// (P4): much longer than closing takes, shorter than a session timeout.
const holdWait = 10 * time.Second

const (
	// restAfterStart is long against a start, and short against what there is to do.
	restAfterStart = 2 * time.Second
	// restAfterCheckpoint is longer than most savepoints take from their first
	// checkpoint to the last, and from there to the end of a stop.
	restAfterCheckpoint = 2 * time.Minute
)

// Env is what the stores of a process share: caches, file handles, the memory
// budget and the limit of background writers. It is safe for concurrent use.
type Env struct {
	fs         vfs.FS
	cache      *pebble.Cache
	files      *pebble.FileCache
	writeBack  int64
	writeEvery time.Duration
	holdWait   time.Duration
	log        *slog.Logger
	onEvent    func(Event)
	onFatal    func(string)
	clock      func() time.Time // for elapsed times only
	// restAfterStart is for how long nothing is compacted or verified after a
	// store was filled: until the job is under way.
	restAfterStart time.Duration

	used     atomic.Int64  // bytes of entries, journals and restores
	restores atomic.Int64  // that run
	writers  chan struct{} // holds one token per running background write
	// verifiers holds a token while the tables of an adopted store are read.
	verifiers chan struct{}

	mu      sync.Mutex
	holders map[string]chan struct{} // by directory; closed when let go
	closed  bool
}

// NewEnv makes an environment. Close it after all of its stores.
func NewEnv(o EnvOptions) *Env {
	e := &Env{
		fs:         o.FS,
		writeBack:  orDefault(o.WriteBackBytes, DefaultWriteBackBytes),
		writeEvery: orDefault(o.WriteEvery, DefaultWriteEvery),
		holdWait:   holdWait,
		log:        o.Logger,
		onEvent:    o.OnEvent,
		onFatal:    o.OnFatal,
		clock:      time.Now,

		restAfterStart: restAfterStart,

		writers:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		verifiers: make(chan struct{}, 1),
		holders:   make(map[string]chan struct{}),
	}
	if e.fs == nil {
		e.fs = vfs.Default
	}
	e.fs = &sharedDirs{FS: e.fs, open: make(map[string]*sharedDir)}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.cache = pebble.NewCache(orDefault(o.BlockCacheBytes, DefaultBlockCacheBytes))
	e.files = pebble.NewFileCache(runtime.GOMAXPROCS(0), orDefault(o.MaxOpenFiles, DefaultMaxOpenFiles))
	return e
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Close releases the caches. It is an error while stores are open.
func (e *Env) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	if n := len(e.holders); n > 0 {
		return fmt.Errorf("%w: environment closed with %d stores open", ErrOrder, n)
	}
	e.closed = true
	e.files.Unref()
	e.cache.Unref()
	return nil
}

// restoreShare is how much one of the restores that run may buffer: together
// half of what the stores may take.
func (e *Env) restoreShare() int64 {
	return max(minRestoreBytes, e.writeBack/2/max(1, e.restores.Load()))
}

// over says whether the stores take more memory than they may.
func (e *Env) over() bool { return e.used.Load() > e.writeBack }

// hold makes the caller the one holder of a directory in this process, waiting
// for the previous one for a bounded time (P4).
func (e *Env) hold(dir string) (release func(), err error) {
	timeout := time.NewTimer(e.holdWait)
	defer timeout.Stop()
	for {
		free, err := e.tryHold(dir)
		if err != nil {
			return nil, err
		}
		if free == nil {
			return func() { e.letGo(dir) }, nil
		}
		select {
		case <-free:
		case <-timeout.C:
			return nil, fmt.Errorf("%w: %s, after %v", ErrHeld, dir, e.holdWait)
		}
	}
}

// tryHold takes a directory, or returns the channel that is closed when its
// holder lets go.
func (e *Env) tryHold(dir string) (<-chan struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("%w: environment", ErrClosed)
	}
	if held := e.holders[dir]; held != nil {
		return held, nil
	}
	e.holders[dir] = make(chan struct{})
	return nil, nil
}

func (e *Env) letGo(dir string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.holders[dir])
	delete(e.holders, dir)
}

func (e *Env) event(kind EventKind, dir, detail string) {
	e.log.Warn("store: "+string(kind), "dir", dir, "detail", detail)
	if e.onEvent != nil {
		e.onEvent(Event{Kind: kind, Dir: dir, Detail: detail})
	}
}

func (e *Env) fatal(dir, reason string) {
	e.log.Error("store cannot go on", "dir", dir, "reason", reason)
	if e.onFatal != nil {
		e.onFatal(reason)
		return
	}
	fmt.Fprintf(os.Stderr, "procd: store %s cannot go on: %s\n", dir, reason)
	os.Exit(1)
}

// exists says whether a path is there.
func (e *Env) exists(path string) (bool, error) {
	_, err := e.fs.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// mkdir makes a directory and the missing ones above it, durably: a restore
// must not be lost because its parent's name was never synced.
func (e *Env) mkdir(dir string) error {
	if there, err := e.exists(dir); there || err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := e.mkdir(parent); err != nil {
		return err
	}
	if err := e.fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return e.syncDir(parent)
}

// syncDir makes changes of names in a directory durable.
func (e *Env) syncDir(dir string) error { return syncDir(e.fs, dir) }

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
