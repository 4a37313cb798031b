package control

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/procd/procd/savepoint"
)

// recordFormat is the version of the control topic's records. A reader refuses
// a deciding record with a higher one ([ErrNewerFormat]); fields that it does
// not know are ignored.
const recordFormat = 1

// Keys of the control topic (P1). Compaction keeps the last record of each, so
// the set is final.
const (
	keyState       = "state"
	prefixGen      = "generation/"
	prefixRevision = "revision/"
	prefixRun      = "run/"
	prefixProcess  = "process/"
	prefixRequest  = "request/"
	prefixResult   = "result/"
	prefixAttempt  = "attempt/"
	prefixReport   = "report/"
	prefixDetached = "detached/"
	prefixQuestion = "question/"
	prefixAnswer   = "answer/"
)

func generationKey(g int) string    { return prefixGen + strconv.Itoa(g) }
func revisionKey(g, r int) string   { return prefixRevision + strconv.Itoa(g) + "/" + strconv.Itoa(r) }
func runKey(s State) string         { return prefixRun + strconv.Itoa(s.Run) + "/" + string(s.State) }
func detachedKey(g int) string      { return prefixDetached + strconv.Itoa(g) }
func processKey(seat string) string { return prefixProcess + seat }
func requestKey(id string) string   { return prefixRequest + id }
func resultKey(id string) string    { return prefixResult + id }
func attemptKey(id string) string   { return prefixAttempt + id }

func reportKey(id, worker string) string { return prefixReport + id + "/" + worker }

// TopicID is Kafka's id of a topic. A topic that was deleted and created again
// has the same name and another id (O4).
type TopicID [16]byte

// String is the id as Kafka's own tools print it.
func (t TopicID) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// MarshalText is [TopicID.String].
func (t TopicID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *TopicID) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	if err != nil || len(raw) != len(t) {
		return fmt.Errorf("procd/control: %q is not a topic id", text)
	}
	copy(t[:], raw)
	return nil
}

// TopicRef is a topic as it was when a generation began.
type TopicRef struct {
	Name       string  `json:"name"`
	ID         TopicID `json:"id"`
	Partitions int32   `json:"partitions"`
}

// StageRef is one stage of the plan: what `status` and the check of a changed
// job need to know of it.
type StageRef struct {
	ID         string   `json:"id"`
	Inputs     []string `json:"inputs"`     // topic names in Kafka
	Partitions int32    `json:"partitions"` // tasks of the stage
}

// StoreSchemas are the numbered schemas of one store (P18).
type StoreSchemas struct {
	UID     string `json:"uid"`
	Stage   string `json:"stage"`
	KeyType string `json:"key_type"`
	// Versions are the Avro schemas; version n is Versions[n-1].
	Versions []string `json:"versions"`
	// Current is the version that the job writes.
	Current int `json:"current"`
}

// Offsets are next-record offsets: per topic, one for each partition from 0
// up. There is one for every partition (O2).
type Offsets map[string][]int64

// At is the offset of one partition.
func (o Offsets) At(topic string, partition int32) (int64, bool) {
	offsets := o[topic]
	if partition < 0 || int(partition) >= len(offsets) {
		return 0, false
	}
	return offsets[partition], true
}

// Generation is the record that begins a generation: the only thing that
// makes topics and offsets belong together (P1). It is never changed.
type Generation struct {
	Job        string `json:"job"`
	Generation int    `json:"generation"`
	Run        int    `json:"run"`      // the run that it began
	StartID    string `json:"start_id"` // of the process that wrote it
	JobHash    string `json:"job_hash"`
	Definition string `json:"definition"` // the plan, as text

	Stages  []StageRef     `json:"stages"`
	Sources []TopicRef     `json:"sources"`
	Topics  []TopicRef     `json:"topics"` // internal: changelogs, repartitions, positions
	Stores  []StoreSchemas `json:"stores"`

	// Start are the offsets to begin at, for every partition of every source:
	// what `earliest`, `latest`, a time or an age meant at that moment (O2).
	Start Offsets `json:"start"`
	// Frontiers are how far earlier generations had consumed the sources
	// (P10); what lies below is replay. Absent in a first generation.
	Frontiers Offsets `json:"frontiers,omitempty"`
	// Reached is how far earlier generations had brought each task (P10).
	// Absent in a first generation, and in the records of older versions.
	Reached []TaskReached `json:"reached,omitempty"`

	// Savepoint is what the generation began with; nil if with nothing.
	Savepoint *SavepointRef `json:"savepoint,omitempty"`
	// Previous is the generation before, 0 if there was none.
	Previous int `json:"previous,omitempty"`
	// Dropped are the uids whose state in the savepoint was given up (--drop).
	Dropped []string `json:"dropped,omitempty"`
	// AcceptedGap is the number of records that retention had removed from
	// behind the savepoint's offsets, and that are skipped (--accept-gap).
	AcceptedGap int64 `json:"accepted_gap,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	By        string    `json:"by"` // user@host
}

// Replay is the number of records that the generation processes although an
// earlier one had (P6): by how much its start is a rewind.
func (g *Generation) Replay() (records int64) {
	for topic, frontiers := range g.Frontiers {
		for partition, frontier := range frontiers {
			if start, ok := g.Start.At(topic, int32(partition)); ok {
				records += max(0, frontier-start)
			}
		}
	}
	return records
}

// SavepointRef is the savepoint that a generation began with.
type SavepointRef struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"` // of the manifest: stands for every byte (P1)
	// Path is its directory, as the process that began the generation had it.
	// Until the state is detached every process of the job reads it (P16).
	Path string         `json:"path"`
	Form savepoint.Form `json:"form"`
	// Job and Generation took it: where a host still has that generation's
	// stores, they are adopted (P15).
	Job        string `json:"job"`
	Generation int    `json:"generation"`
}

// Is says whether both are the same savepoint: byte for byte, or moved,
// copied or exported.
func (r SavepointRef) Is(other SavepointRef) bool {
	return r.SHA256 == other.SHA256 || r.ID == other.ID && r.Job == other.Job
}

// Topic finds a source or internal topic of the generation.
func (g *Generation) Topic(name string) (TopicRef, bool) {
	for _, topics := range [][]TopicRef{g.Sources, g.Topics} {
		if i := slices.IndexFunc(topics, func(t TopicRef) bool { return t.Name == name }); i >= 0 {
			return topics[i], true
		}
	}
	return TopicRef{}, false
}

// Detached says that no partition of a generation needs the savepoint any more
// that it began with (P16). It is a fact that any process can find out from the
// position records, and that stays true, so it is written outside of any
// transaction.
type Detached struct {
	Generation int       `json:"generation"`
	At         time.Time `json:"at"`
}

// Revision is a changed job within a generation (P2). It repeats all schemas,
// so that the newest revision alone says what is current. Revision 0 is the
// generation record itself.
type Revision struct {
	Generation int            `json:"generation"`
	Revision   int            `json:"revision"`
	StartID    string         `json:"start_id"`
	JobHash    string         `json:"job_hash"`
	Definition string         `json:"definition"`
	Stores     []StoreSchemas `json:"stores"`
	CreatedAt  time.Time      `json:"created_at"`
	By         string         `json:"by"`
	Seat       string         `json:"seat,omitempty"` // of the process that wrote it
}

// RunState says whether a job is meant to run.
type RunState string

const (
	// Running: a plain start joins.
	Running RunState = "RUNNING"
	// Stopped: a plain start is refused until `start --resume` (P6).
	Stopped RunState = "STOPPED"
	// Reset: the next start begins a new generation from the job's start offsets.
	Reset RunState = "RESET"
)

// State is the job's run state. Run grows with every start after a stop or a
// reset, and every request names the run it means (P6).
type State struct {
	State      RunState `json:"state"`
	Generation int      `json:"generation"`
	Run        int      `json:"run"`
	// Savepoint, of a job that was stopped at one, is its id: the job stands at
	// exactly that point (P6).
	Savepoint string    `json:"savepoint,omitempty"`
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	// Seat is that of the process whose start made the job run.
	Seat string `json:"seat,omitempty"`
}

// TaskState is what a process says of one of its tasks.
type TaskState struct {
	Stage     string `json:"stage"`
	Partition int32  `json:"partition"`
	State     string `json:"state"` // restoring, running, ...: the engine's word
	// RestoreRemaining is the number of changelog offsets still to be read.
	RestoreRemaining int64 `json:"restore_remaining,omitempty"`
	// Base is how far the task has come from the savepoint that the generation
	// began with: attached, detached or clean (P16). Absent if it began with none.
	Base string `json:"base,omitempty"`
}

// Process is what a process says of itself. It decides nothing, and may be
// old: its age is shown with it.
type Process struct {
	Seat       string      `json:"seat"`
	Host       string      `json:"host"`
	PID        int         `json:"pid"`
	Admin      string      `json:"admin,omitempty"` // address of /metrics, /livez and /readyz
	Generation int         `json:"generation"`
	Revision   int         `json:"revision"`
	Run        int         `json:"run"`
	StartedAt  time.Time   `json:"started_at"`
	Tasks      []TaskState `json:"tasks"`
	Memory     *Memory     `json:"memory,omitempty"` // nil: said by an older version
	At         time.Time   `json:"at"`
}

// Memory is how a process divides the memory that it may take, in bytes.
type Memory struct {
	Total      int64 `json:"total_bytes"`
	BlockCache int64 `json:"block_cache_bytes"` // of the stores' files, memtables included
	WriteBack  int64 `json:"write_back_bytes"`  // decoded entries, and those that are not on disk yet
	Fetch      int64 `json:"fetch_bytes"`
	Produce    int64 `json:"produce_bytes"` // of open transactions
	Rest       int64 `json:"rest_bytes"`    // for the garbage collector and everything else
}

// envelope puts the format version beside a record's own fields.
type envelope[T any] struct {
	Format int `json:"format"`
	Body   T   `json:",embed"`
}

// encode returns the record's value. Marshalling these types cannot fail; a
// failure would be a bug of this package and is returned as such.
func encode[T any](record T) ([]byte, error) {
	value, err := json.Marshal(envelope[T]{Format: recordFormat, Body: record})
	if err != nil {
		return nil, fmt.Errorf("procd/control: encode %T: %w", record, err)
	}
	return value, nil
}

// decode reads what encode wrote, or refuses a newer format.
func decode[T any](key string, value []byte) (T, error) {
	var e envelope[T]
	if err := json.Unmarshal(value, &e); err != nil {
		return e.Body, fmt.Errorf("procd/control: record %q: %w", key, err)
	}
	if e.Format > recordFormat {
		return e.Body, fmt.Errorf("%w: %q has format %d, this procd knows %d; upgrade procd", ErrNewerFormat, key, e.Format, recordFormat)
	}
	return e.Body, nil
}

// parseNumbers reads the n numbers of a key's tail.
func parseNumbers(key, prefix string, n int) ([]int, error) {
	parts := strings.Split(strings.TrimPrefix(key, prefix), "/")
	if len(parts) != n {
		return nil, fmt.Errorf("procd/control: key %q has %d numbers, not %d", key, len(parts), n)
	}
	numbers := make([]int, n)
	for i, part := range parts {
		v, err := strconv.Atoi(part)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("procd/control: key %q: %q is not a number", key, part)
		}
		numbers[i] = v
	}
	return numbers, nil
}
