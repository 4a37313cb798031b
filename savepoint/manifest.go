package savepoint

import (
	"cmp"
	"slices"
	"time"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// FormatVersion is the version of the format that this package writes. It reads
// this one and every older one.
const FormatVersion = 1

// Form is how the rows of a savepoint's stores are written.
type Form string

const (
	// Native: the files of the stores, as they were. What a job takes.
	Native Form = "native"
	// Portable: Avro object container files, which any Avro tool reads. What
	// an export makes.
	Portable Form = "portable"
)

// Manifest says all of a savepoint: where the job stood, and every file with
// its checksum. docs/format/savepoint.md describes each field.
type Manifest struct {
	ID         string    `json:"id"`
	Job        string    `json:"job"`
	Generation int       `json:"generation"`
	Revision   int       `json:"revision"`
	Run        int       `json:"run"`
	Attempt    int       `json:"attempt"` // that completed it (P14)
	CreatedAt  time.Time `json:"created_at"`
	By         string    `json:"by"` // user@host that asked
	Form       Form      `json:"form"`

	// JobHash is topology.Plan.Hash of the job that ran.
	JobHash string `json:"job_hash"`
	// Definition is the file with the job's text; nil where there is none.
	Definition *File `json:"definition,omitempty"`

	Sources []Topic `json:"sources"` // user topics that the job reads
	Stages  []Stage `json:"stages"`  // in the order in which the job reads topics
	Tasks   []Task  `json:"tasks"`   // every partition of every stage
	Stores  []Store `json:"stores"`  // in the order of the plan
}

// Topic is a source topic as it was at the cut.
type Topic struct {
	Name       string `json:"name"`
	ID         string `json:"id"` // Kafka's, as its tools print it: 22 characters
	Partitions int32  `json:"partitions"`
}

// Stage is a stage of the job.
type Stage struct {
	ID         string `json:"id"`
	Partitions int32  `json:"partitions"`
	// Partitioner is what put the keys of the stage's inputs on partitions
	// (P24).
	Partitioner topology.Partitioner `json:"partitioner"`
}

// Task is where one task stood at the cut.
type Task struct {
	Stage     string `json:"stage"`
	Partition int32  `json:"partition"`
	// Sources are the offsets of the next record of each input, repartition
	// topics included. Of a task with stores they are what the checkpoints say
	// (P14).
	Sources    []kstate.SourceOffset `json:"sources"`
	Frontiers  topology.Frontiers    `json:"frontiers,omitempty"`  // P10
	Watermarks []topology.Watermark  `json:"watermarks,omitempty"` // P27
}

// Store is the state of one uid.
type Store struct {
	UID     string `json:"uid"`
	Stage   string `json:"stage"`
	KeyType string `json:"key_type"`
	// Versions are all schemas that the generation knew, in order of version.
	Versions []Version `json:"versions"`
	// Current is the version that the job wrote.
	Current int    `json:"current"`
	Parts   []Part `json:"parts"` // one per partition, in order
}

// Version is one numbered schema of a store and how many of its rows are
// written with it (P18).
type Version struct {
	Version int    `json:"version"`
	Schema  string `json:"schema"`
	// Rows is exact, but for parts of a native savepoint above [MaxCounted]:
	// those are counted in the files, where an older value of a key may still
	// be, and it is an upper bound.
	Rows int64 `json:"rows"`
}

// Part is one partition of a store.
type Part struct {
	UID       string `json:"uid"`
	Partition int32  `json:"partition"`
	// Instance is the random id of the database, made with its directory. File
	// numbers mean something only together with it (P14). Empty in a portable
	// savepoint.
	Instance string `json:"instance,omitempty"`
	// Changelog and Sources are the position that the checkpoint itself says it
	// is at (P14): see kstate.Position.
	Changelog int64                 `json:"changelog"`
	Sources   []kstate.SourceOffset `json:"sources"`
	// Rows are the numbers of rows by schema version; see Version.Rows.
	Rows  []VersionRows `json:"rows"`
	Files []File        `json:"files"` // sorted by name
}

// VersionRows is a number of rows of one schema version.
type VersionRows struct {
	Version int   `json:"version"`
	Rows    int64 `json:"rows"`
}

// File is one file of a savepoint.
type File struct {
	Name   string `json:"name"` // in its directory
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// NewStore puts the parts of a store together, which different processes
// copied, and adds up their rows. versions are those that the generation knows,
// current the one that the job writes.
func NewStore(spec topology.StoreSpec, versions []kstate.SchemaVersion, current int, parts []Part) Store {
	s := Store{UID: spec.UID, Stage: spec.Stage, KeyType: spec.KeyType, Current: current, Parts: slices.Clone(parts)}
	slices.SortFunc(s.Parts, func(a, b Part) int { return cmp.Compare(a.Partition, b.Partition) })
	rows := make(map[int]int64)
	for _, p := range s.Parts {
		for _, r := range p.Rows {
			rows[r.Version] += r.Rows
		}
	}
	for _, v := range versions {
		s.Versions = append(s.Versions, Version{Version: v.Version, Schema: v.Schema, Rows: rows[v.Version]})
	}
	return s
}

// Position is the part's position as kstate has it.
func (p *Part) Position() kstate.Position {
	return kstate.Position{Changelog: p.Changelog, Sources: slices.Clone(p.Sources)}
}

// Bytes is the size of the part's files.
func (p *Part) Bytes() (n int64) {
	for _, f := range p.Files {
		n += f.Size
	}
	return n
}

// Entries is the number of the part's rows; see Version.Rows.
func (p *Part) Entries() (n int64) {
	for _, r := range p.Rows {
		n += r.Rows
	}
	return n
}

// Entries is the number of the store's rows; see Version.Rows.
func (s *Store) Entries() (n int64) {
	for i := range s.Parts {
		n += s.Parts[i].Entries()
	}
	return n
}

// Schema is the text of a version.
func (s *Store) Schema(version int) (string, bool) {
	for _, v := range s.Versions {
		if v.Version == version {
			return v.Schema, true
		}
	}
	return "", false
}

// Store finds a store.
func (m *Manifest) Store(uid string) (*Store, bool) {
	i := slices.IndexFunc(m.Stores, func(s Store) bool { return s.UID == uid })
	if i < 0 {
		return nil, false
	}
	return &m.Stores[i], true
}

// Part finds one partition of a store.
func (m *Manifest) Part(uid string, partition int32) (*Part, bool) {
	s, ok := m.Store(uid)
	if !ok || partition < 0 || int(partition) >= len(s.Parts) {
		return nil, false
	}
	return &s.Parts[partition], true
}

// Bytes is the size of all files without the manifest.
func (m *Manifest) Bytes() (n int64) {
	if m.Definition != nil {
		n = m.Definition.Size
	}
	for i := range m.Stores {
		for j := range m.Stores[i].Parts {
			n += m.Stores[i].Parts[j].Bytes()
		}
	}
	return n
}

// Offsets are the offsets to go on at: per source topic, the next record of
// each partition. A valid manifest has one for every partition (O2).
func (m *Manifest) Offsets() map[string][]int64 {
	return m.perSource(func(t *Task) []kstate.SourceOffset { return t.Sources })
}

// Frontiers are, per source topic and partition, how far the furthest task had
// consumed (P10); what lies below was processed before. 0 where no task has a
// frontier.
func (m *Manifest) Frontiers() map[string][]int64 {
	return m.perSource(func(t *Task) []kstate.SourceOffset { return t.Frontiers })
}

// perSource takes the maximum over all tasks.
func (m *Manifest) perSource(of func(*Task) []kstate.SourceOffset) map[string][]int64 {
	offsets := make(map[string][]int64, len(m.Sources))
	for _, t := range m.Sources {
		offsets[t.Name] = make([]int64, t.Partitions)
	}
	for i := range m.Tasks {
		for _, o := range of(&m.Tasks[i]) {
			if at := offsets[o.Topic]; o.Partition >= 0 && int(o.Partition) < len(at) {
				at[o.Partition] = max(at[o.Partition], o.Offset)
			}
		}
	}
	return offsets
}
