package savepoint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/procd/procd/kstate"
)

// Bounds of what a manifest may say (D3).
const (
	maxFileBytes  = 1 << 40
	maxPartitions = 1 << 20
	maxVersion    = 1 << 16 // as kstate

	maxDefinitionBytes = 16 << 20 // it is read into memory
)

var (
	sha256RE   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	topicRE    = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	instanceRE = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
)

// Check says everything that is wrong with a manifest on its own: names,
// numbers, partitions that are missing or twice, offsets that are missing, and
// stores that disagree with their task ([ErrDisagree], P14). Files are not
// looked at. Errors wrap [ErrInvalid], [ErrName], [ErrTooLarge] or ErrDisagree.
func (m *Manifest) Check() error {
	c := &manifestCheck{m: m, stages: make(map[string]int32), tasks: make(map[taskKey]*Task)}
	c.head()
	c.sources()
	c.tasksOfStages()
	c.offsets()
	for i := range m.Stores {
		c.store(&m.Stores[i])
	}
	return errors.Join(c.errs...)
}

type taskKey struct {
	stage     string
	partition int32
}

type manifestCheck struct {
	m      *Manifest
	stages map[string]int32 // partitions
	tasks  map[taskKey]*Task
	errs   []error
}

// maxErrors keeps a hostile manifest's error short.
const maxErrors = 20

func (c *manifestCheck) fail(sentinel error, format string, args ...any) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...)))
	}
}

func (c *manifestCheck) head() {
	m := c.m
	if !IsID(m.ID) {
		c.fail(ErrName, "id %q", m.ID)
	}
	if !uidRE.MatchString(m.Job) {
		c.fail(ErrName, "job %q", m.Job)
	}
	if m.Form != Native && m.Form != Portable {
		c.fail(ErrInvalid, "form %q", m.Form)
	}
	if m.Generation < 1 || m.Revision < 0 || m.Run < 0 || m.Attempt < 0 {
		c.fail(ErrInvalid, "generation %d, revision %d, run %d, attempt %d", m.Generation, m.Revision, m.Run, m.Attempt)
	}
	if d := m.Definition; d != nil {
		if d.Name != definitionName {
			c.fail(ErrName, "definition file %q", d.Name)
		}
		if d.Size > maxDefinitionBytes {
			c.fail(ErrTooLarge, "definition of %d bytes", d.Size)
		}
		c.file("definition", *d)
	}
}

func (c *manifestCheck) sources() {
	seen := make(map[string]bool)
	for _, t := range c.m.Sources {
		if !topicRE.MatchString(t.Name) || seen[t.Name] {
			c.fail(ErrName, "source topic %q, or it is there twice", t.Name)
		}
		seen[t.Name] = true
		if id, err := base64.RawURLEncoding.DecodeString(t.ID); err != nil || len(id) != 16 {
			c.fail(ErrInvalid, "id %q of topic %s", t.ID, t.Name)
		}
		if t.Partitions < 1 || t.Partitions > maxPartitions {
			c.fail(ErrInvalid, "topic %s has %d partitions", t.Name, t.Partitions)
		}
	}
}

func (c *manifestCheck) tasksOfStages() {
	var want int64
	for _, s := range c.m.Stages {
		if s.ID == "" || len(s.ID) > 1<<16 || s.Partitions < 1 || s.Partitions > maxPartitions || !s.Partitioner.Valid() {
			c.fail(ErrInvalid, "stage %q with %d partitions by %q", abbreviate(s.ID), s.Partitions, s.Partitioner)
		}
		if _, twice := c.stages[s.ID]; twice {
			c.fail(ErrInvalid, "stage %q is there twice", abbreviate(s.ID))
		}
		c.stages[s.ID] = s.Partitions
		want += int64(s.Partitions)
	}
	for i := range c.m.Tasks {
		c.task(&c.m.Tasks[i])
	}
	if int64(len(c.tasks)) != want {
		c.fail(ErrInvalid, "%d tasks of %d", len(c.tasks), want)
	}
}

func (c *manifestCheck) task(t *Task) {
	key := taskKey{t.Stage, t.Partition}
	if n, ok := c.stages[t.Stage]; !ok || t.Partition < 0 || t.Partition >= n || c.tasks[key] != nil {
		c.fail(ErrInvalid, "task %s/%d is of no stage, or there twice", abbreviate(t.Stage), t.Partition)
		return
	}
	c.tasks[key] = t
	for _, offsets := range [][]kstate.SourceOffset{t.Sources, t.Frontiers} {
		seen := make(map[kstate.SourceOffset]bool)
		for _, o := range offsets {
			at := kstate.SourceOffset{Topic: o.Topic, Partition: o.Partition}
			if !topicRE.MatchString(o.Topic) || o.Partition < 0 || o.Offset < 0 || seen[at] {
				c.fail(ErrInvalid, "task %s/%d: offset %d of %q/%d, or it is there twice", t.Stage, t.Partition, o.Offset, abbreviate(o.Topic), o.Partition)
			}
			seen[at] = true
		}
	}
}

// offsets checks that each partition of each source has exactly one offset: a
// missing one would silently be 0 (O2).
func (c *manifestCheck) offsets() {
	have := make(map[kstate.SourceOffset]int)
	for i := range c.m.Tasks {
		for _, o := range c.m.Tasks[i].Sources {
			have[kstate.SourceOffset{Topic: o.Topic, Partition: o.Partition}]++
		}
	}
	for _, t := range c.m.Sources {
		for p := range min(t.Partitions, maxPartitions) {
			n := have[kstate.SourceOffset{Topic: t.Name, Partition: p}]
			if n == 1 {
				continue
			}
			c.fail(ErrInvalid, "topic %s, partition %d has %d offsets, not one", t.Name, p, n)
			if len(c.errs) == maxErrors {
				return
			}
		}
	}
}

func (c *manifestCheck) store(s *Store) {
	if !uidRE.MatchString(s.UID) {
		c.fail(ErrName, "store %q", abbreviate(s.UID))
	}
	if first, _ := c.m.Store(s.UID); first != s {
		c.fail(ErrInvalid, "store %s is there twice", s.UID)
	}
	if n, ok := c.stages[s.Stage]; !ok || int64(n) != int64(len(s.Parts)) {
		c.fail(ErrInvalid, "store %s has %d parts, its stage %s %d partitions", s.UID, len(s.Parts), abbreviate(s.Stage), n)
	}
	rows := c.versions(s)
	for i := range s.Parts {
		if p := &s.Parts[i]; p.UID != s.UID || int64(p.Partition) != int64(i) {
			c.fail(ErrInvalid, "part %d of store %s is %s/%d", i, s.UID, abbreviate(p.UID), p.Partition)
			continue
		}
		c.part(s, &s.Parts[i], rows)
	}
	for v, n := range rows {
		if n != 0 {
			c.fail(ErrInvalid, "store %s: rows of version %d are not the sum of its parts", s.UID, v)
		}
	}
}

// versions checks a store's schemas and returns the rows that its parts must
// add up to.
func (c *manifestCheck) versions(s *Store) map[int]int64 {
	rows := make(map[int]int64, len(s.Versions))
	last := 0
	for _, v := range s.Versions {
		if v.Version <= last || v.Version > maxVersion || v.Rows < 0 {
			c.fail(ErrInvalid, "store %s: version %d after %d, with %d rows", s.UID, v.Version, last, v.Rows)
		}
		if _, err := parseSchema(v.Schema); err != nil {
			c.fail(ErrInvalid, "store %s: schema of version %d: %v", s.UID, v.Version, err)
		}
		last = v.Version
		rows[v.Version] = v.Rows
	}
	if _, ok := s.Schema(s.Current); !ok {
		c.fail(ErrInvalid, "store %s has no schema of its current version %d", s.UID, s.Current)
	}
	return rows
}

func (c *manifestCheck) part(s *Store, p *Part, rows map[int]int64) {
	where := fmt.Sprintf("store %s, partition %d", s.UID, p.Partition)
	if c.m.Form == Native && !instanceRE.MatchString(p.Instance) {
		c.fail(ErrName, "%s: instance %q", where, abbreviate(p.Instance))
	}
	if p.Changelog < 0 {
		c.fail(ErrInvalid, "%s: changelog offset %d", where, p.Changelog)
	}
	for _, r := range p.Rows {
		if _, ok := rows[r.Version]; !ok || r.Rows < 0 {
			c.fail(ErrInvalid, "%s: %d rows of version %d, whose schema is not there", where, r.Rows, r.Version)
			continue
		}
		rows[r.Version] -= r.Rows
	}
	seen := make(map[string]bool)
	for _, f := range p.Files {
		if seen[strings.ToLower(f.Name)] {
			c.fail(ErrName, "%s: file %q is there twice", where, abbreviate(f.Name))
		}
		seen[strings.ToLower(f.Name)] = true
		c.file(where, f)
	}
	if t := c.tasks[taskKey{s.Stage, p.Partition}]; t != nil && !sameOffsets(t.Sources, p.Sources) {
		c.fail(ErrDisagree, "%s is at %v, its task %s at %v", where, p.Sources, s.Stage, t.Sources)
	}
}

func (c *manifestCheck) file(where string, f File) {
	switch {
	case !fileRE.MatchString(f.Name):
		c.fail(ErrName, "%s: file %q", where, abbreviate(f.Name))
	case f.Size < 0 || f.Size > maxFileBytes:
		c.fail(ErrTooLarge, "%s: file %s of %d bytes", where, f.Name, f.Size)
	case !sha256RE.MatchString(f.SHA256):
		c.fail(ErrInvalid, "%s: file %s has checksum %q", where, f.Name, abbreviate(f.SHA256))
	}
}

// sameOffsets compares offsets in any order.
func sameOffsets(a, b []kstate.SourceOffset) bool {
	sort := func(o []kstate.SourceOffset) []kstate.SourceOffset {
		o = slices.Clone(o)
		slices.SortFunc(o, func(a, b kstate.SourceOffset) int {
			if n := strings.Compare(a.Topic, b.Topic); n != 0 {
				return n
			}
			return int(a.Partition) - int(b.Partition)
		})
		return o
	}
	return slices.Equal(sort(a), sort(b))
}

// abbreviate keeps hostile names short in messages.
func abbreviate(s string) string {
	const shown = 80
	if len(s) <= shown {
		return s
	}
	return s[:shown] + "..."
}
