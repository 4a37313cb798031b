package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
)

// Base is the savepoint that a generation began with, for as long as the state
// of one of its partitions is not detached from it (P16).
type Base struct {
	// Savepoint is open; its manifest has the checksum that the generation
	// record has. Its files are not verified yet.
	Savepoint *savepoint.Savepoint
	Dir       string // of the savepoint

	lease *Lease
}

// BasePart is one partition of a store in a base.
type BasePart struct {
	// Dir holds the part's files, in either form of savepoint.
	Dir  string
	Part *savepoint.Part
	// Versions are the schemas of its rows, by the numbers that the generation
	// has for them too (P18).
	Versions []kstate.SchemaVersion
	// Adopt is the directory of the same partition on this seat, made by the
	// generation that took the savepoint; "" if there is none (P15).
	Adopt string

	from *savepoint.Savepoint
}

// Base returns the savepoint that the generation began with, nil if it began
// with none. It opens it at the first call: a process whose partitions are all
// detached does not need it. The error is *[Refused] where the savepoint is not
// found, or is another one under the same name: the state must not be started
// without it (P16).
func (l *Lease) Base() (*Base, error) {
	ref := l.Generation.Savepoint
	if ref == nil {
		return nil, nil
	}
	opened, dir, err := l.base.open()
	if err != nil {
		return nil, err
	}
	return &Base{Savepoint: opened, Dir: dir, lease: l}, nil
}

// seesBase checks, before the process takes part, that it can read the savepoint
// that the generation's state is not detached from yet: one that another host
// has for itself would be missed only by the task that needs it (P13, P16).
func (l *Lease) seesBase() error {
	if l.plane.tail.View().Detached(l.Generation.Generation) {
		return nil
	}
	_, err := l.Base()
	return err
}

// Part finds one partition of a store; false for a store that is new in this
// generation and starts empty.
func (b *Base) Part(uid string, partition int32) (BasePart, bool) {
	part, ok := b.Savepoint.Manifest().Part(uid, partition)
	if !ok {
		return BasePart{}, false
	}
	store, _ := b.Savepoint.Manifest().Store(uid)
	found := BasePart{Dir: filepath.Join(b.Dir, "stores", uid, strconv.Itoa(int(partition))), Part: part, from: b.Savepoint}
	for _, v := range store.Versions {
		found.Versions = append(found.Versions, kstate.SchemaVersion{Version: v.Version, Schema: v.Schema})
	}
	found.Adopt, _ = b.lease.AdoptDir(uid, partition)
	return found, true
}

// Store is the part as a store is made from it. What it reads ends with ctx.
func (p BasePart) Store(ctx context.Context) kstate.Base {
	base := kstate.Base{Instance: p.Part.Instance, Position: p.Part.Position(), Versions: p.Versions}
	if p.from.Manifest().Form == savepoint.Portable {
		base.Instance = "manifest-" + p.from.SHA256()
		base.Rows = func(fn func(key []byte, version int, data []byte) error) error {
			return p.from.EachRow(ctx, p.Part.UID, p.Part.Partition, func(r savepoint.Row) error { return fn(r.Key, r.Version, r.Data) })
		}
		return base
	}
	base.Adopt, base.Open = p.Adopt, p.open
	for _, f := range p.Part.Files {
		base.Files = append(base.Files, kstate.BaseFile{Name: f.Name, Size: f.Size, SHA256: f.SHA256})
	}
	return base
}

// open opens one file of the part, following no links (D3).
func (p BasePart) open(name string) (io.ReadCloser, error) {
	dir, err := savepoint.OpenDir(p.Dir)
	if err != nil {
		return nil, err
	}
	file, err := dir.Open(name)
	return file, errors.Join(err, dir.Close())
}

// AdoptDir is this seat's directory of a store partition, made by the
// generation that took the savepoint which this one began with (P15); "" and
// false if there is none. What is in it has to be compared with the manifest.
func (l *Lease) AdoptDir(uid string, partition int32) (dir string, ok bool) {
	generation, ok := l.adopts()
	if !ok {
		return "", false
	}
	dir = l.seat.StoreDir(generation, uid, partition)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", false
	}
	return dir, true
}

// adopts is the generation whose stores this one may adopt: of this job, and
// an older one, since numbers may have begun anew with the control topic.
func (l *Lease) adopts() (generation int, ok bool) {
	ref := l.Generation.Savepoint
	if ref == nil || ref.Job != l.Job || ref.Generation >= l.Generation.Generation {
		return 0, false
	}
	return ref.Generation, true
}

// Tidy removes this seat's stores of all generations but this one and the one
// that it may adopt, so that the disk holds no more than two for long. Deleting
// gigabytes holds up whoever syncs meanwhile: to be called once the job is under
// way.
func (l *Lease) Tidy() error {
	keep := []int{l.Generation.Generation}
	if old, ok := l.adopts(); ok {
		keep = append(keep, old)
	}
	return l.seat.Prune(keep...)
}

// Prune removes this seat's stores of all other generations: to be called once
// every partition of this generation is detached from its savepoint (P15).
func (l *Lease) Prune() error { return l.seat.Prune(l.Generation.Generation) }

// Detached says in the control topic that no partition of the generation needs
// the savepoint any more that it began with, so that it can be removed, and
// deletes what only older generations needed: see [Plane.DeleteOlder]. To be
// called once the position record of every task has the detached mark (P16);
// again, or in several processes, it does no harm.
func (l *Lease) Detached(ctx context.Context) error {
	p := l.plane
	if !p.tail.View().Detached(l.Generation.Generation) {
		value, err := encode(Detached{Generation: l.Generation.Generation, At: p.settings.Now().UTC()})
		if err == nil {
			err = p.write(ctx, detachedKey(l.Generation.Generation), value)
		}
		if err != nil {
			return err
		}
	}
	return p.DeleteOlder(ctx, l.Generation.Generation)
}

// DeleteOlder deletes the internal topics of every generation before the given
// one, which must be detached: nothing reads them any more (P26). Calling it
// again, or from several processes, does no harm.
func (p *Plane) DeleteOlder(ctx context.Context, generation int) error {
	topics, err := p.generationTopics(ctx)
	if err != nil {
		return err
	}
	var older []TopicRef
	for _, t := range topics {
		if g, ok := topicGeneration(p.settings.Job, t.Name); ok && g < generation {
			older = append(older, t)
		}
	}
	return p.remove(ctx, older)
}

// baseFinder opens a generation's savepoint once.
type baseFinder struct {
	generation *Generation
	options    StartOptions

	once   sync.Once
	opened *savepoint.Savepoint
	dir    string
	err    error
}

func (f *baseFinder) open() (*savepoint.Savepoint, string, error) {
	f.once.Do(f.find)
	return f.opened, f.dir, f.err
}

// find looks where the user says, where the record says, and where this
// process has its savepoints: mounts differ between hosts.
func (f *baseFinder) find() {
	ref := f.generation.Savepoint
	if c := f.options.Savepoint; c != nil && c.Opened != nil && c.Opened.SHA256() == ref.SHA256 {
		f.opened, f.dir = c.Opened, c.Path
		return
	}
	dirs := []string{ref.Path}
	if f.options.SavepointDir != "" {
		dirs = append(dirs, filepath.Join(f.options.SavepointDir, ref.ID))
	}
	var errs []error
	for _, dir := range dirs {
		opened, err := savepoint.OpenPath(dir)
		if err == nil && opened.SHA256() == ref.SHA256 {
			f.opened, f.dir = opened, dir
			return
		}
		if err == nil {
			err = errors.Join(fmt.Errorf("%s is another savepoint", dir), opened.Close())
		}
		errs = append(errs, err)
	}
	f.err = &Refused{
		Reason: fmt.Sprintf("state of generation %d begins with savepoint %s, which cannot be read: %v",
			f.generation.Generation, ref.ID, errors.Join(errs...)),
		Hint: "put it back, or name where it is with --savepoint-dir",
	}
}
