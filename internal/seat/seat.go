package seat

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Format is the version of the directory layout that this package writes. A
// directory with a higher number is refused ([ErrNewerFormat]).
const Format = 1

// Seat is one locked seat directory. It stays locked until [Seat.Release] or
// the end of the process, whatever way it ends: the lock is the kernel's.
type Seat struct {
	job string
	dir string

	mu       sync.Mutex // guards identity and lock
	identity string
	lock     *os.File
}

// Take locks the lowest free seat of the job below dataDir, making the
// directory where there is none (P3). Several processes may share dataDir:
// each gets a seat of its own.
func Take(dataDir, job string) (*Seat, error) {
	root := filepath.Join(dataDir, job)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %v; choose another with --data", ErrNotWritable, err)
	}
	for n := 0; ; n++ {
		s, err := sit(filepath.Join(root, "seat-"+strconv.Itoa(n)), job)
		if err != nil {
			return nil, err
		}
		if s != nil {
			return s, nil
		}
	}
}

// sit locks one seat directory and reads it; nil without an error if somebody
// else sits there.
func sit(dir, job string) (*Seat, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %v; choose another with --data", ErrNotWritable, err)
	}
	lock, err := tryLock(filepath.Join(dir, "LOCK"))
	if lock == nil || err != nil {
		return nil, err
	}
	s := &Seat{job: job, dir: dir, lock: lock}
	if err := s.load(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// load checks the layout's version before it reads or writes anything else.
func (s *Seat) load() error {
	if err := checkFormat(s.dir); err != nil {
		return err
	}
	id, err := readIdentity(s.dir)
	if err != nil {
		return err
	}
	s.identity = id
	return nil
}

// ID is the seat's name in Kafka: ten base32 characters, never reused.
func (s *Seat) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// Dir is the seat's directory.
func (s *Seat) Dir() string { return s.dir }

// StoreDir is where one partition of a store lives in the given generation.
// The directory may not exist.
func (s *Seat) StoreDir(generation int, store string, partition int32) string {
	return filepath.Join(s.generationDir(generation), store, strconv.Itoa(int(partition)))
}

func (s *Seat) generationDir(generation int) string {
	return filepath.Join(s.dir, "g"+strconv.Itoa(generation))
}

// InstanceID is the static member id and the transactional id of one worker,
// `procd.<job>.<seat>.<worker>`: the same after every restart, so that a
// restart fences its own past (P3, T4).
func (s *Seat) InstanceID(worker int) string {
	return s.InstancePrefix() + strconv.Itoa(worker)
}

// InstancePrefix is what the ids of all workers on this seat begin with.
func (s *Seat) InstancePrefix() string {
	return "procd." + s.job + "." + s.ID() + "."
}

// Renew gives the seat a new identity and keeps its stores: the way out when
// two processes hold copies of one seat and evict each other for ever (P4).
//
// from is the identity whose worker was fenced. If the seat has another one
// by now nothing changes, so that all workers of a process may ask and the
// seat is renewed once. Renew returns the identity to use from here on.
func (s *Seat) Renew(from string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity != from {
		return s.identity, nil
	}
	id, err := writeIdentity(s.dir)
	if err != nil {
		return "", err
	}
	s.identity = id
	return id, nil
}

// Prune removes the stores of every generation but those to keep: the current
// one, and the one whose stores it may still adopt (P15). No other generation
// has a use for them (S5), and nobody else would free their disk.
func (s *Seat) Prune(keep ...int) error {
	kept := make(map[string]bool, len(keep))
	for _, generation := range keep {
		kept[filepath.Base(s.generationDir(generation))] = true
	}
	return removeGenerations(s.dir, func(name string) bool { return !kept[name] })
}

// Release unlocks the seat for the next process. Its identity and its stores
// stay. A second call does nothing.
func (s *Seat) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}

// removeGenerations removes the generation directories whose name drop names.
func removeGenerations(dir string, drop func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("procd/seat: list %s: %w", dir, err)
	}
	for _, e := range entries {
		if !isGeneration(e.Name()) || !drop(e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("procd/seat: remove old state: %w", err)
		}
	}
	return nil
}

func isGeneration(name string) bool {
	digits, ok := strings.CutPrefix(name, "g")
	if !ok {
		return false
	}
	_, err := strconv.ParseUint(digits, 10, 31)
	return err == nil
}
