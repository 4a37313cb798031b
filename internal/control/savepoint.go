package control

import "time"

// Request asks a run of the job for a savepoint. Asking again with the same id
// is asking for its result.
type Request struct {
	ID string `json:"id"` // of the request and of the savepoint: see savepoint.NewID
	// Generation and Run are what was current when it was asked: a request
	// cannot hit a later run (P6).
	Generation int  `json:"generation"`
	Run        int  `json:"run"`
	Stop       bool `json:"stop,omitempty"` // stop the job at the savepoint
	// Scheduled says that the job asked by itself (`savepoints: {every}`).
	Scheduled bool      `json:"scheduled,omitempty"`
	At        time.Time `json:"at"`
	By        string    `json:"by"`
}

// Phase is how far an attempt at a savepoint is, as its coordinator says it.
type Phase string

const (
	// PhaseMuster: every worker says which tasks it has. Nothing is done for
	// the savepoint, and whatever an earlier attempt had stopped goes on.
	PhaseMuster Phase = "muster"
	// PhasePrepare: check the token, checkpoint, copy what never changes.
	PhasePrepare Phase = "prepare"
	// PhaseCut: the tasks of the stages named are cut, and then copied.
	PhaseCut Phase = "cut"
	// PhaseRelease: what was cut and stands still goes on; copying continues.
	PhaseRelease Phase = "release"
	// PhaseOver: the last attempt failed, and the result is on its way.
	PhaseOver Phase = "over"
)

// Attempt is one try at a savepoint (P14): what the coordinator wants of the
// workers at this moment.
//
// The first record of an attempt, its claim, is written by the decider, so that
// no two coordinators have the same number and no result of an earlier attempt
// can follow it. The others are plain records of the one coordinator; a reader
// passes over those with a lower Attempt, or a lower Step, than it has seen.
type Attempt struct {
	Request     string `json:"request"`
	Attempt     int    `json:"attempt"`     // from 1
	Coordinator string `json:"coordinator"` // random, of one coordinator's life
	Run         int    `json:"run"`         // of the request; means nothing in another (P6)
	Step        int    `json:"step"`        // grows with every record of an attempt
	Phase       Phase  `json:"phase"`
	Stop        bool   `json:"stop,omitempty"`
	// Hold says that a task which is cut stands still until a later record
	// says otherwise.
	Hold bool `json:"hold,omitempty"`
	// Location is where the coordinator writes, by its own name; Token is what
	// every process must find there (P13). Both from PhasePrepare on.
	Location string `json:"location,omitempty"`
	Token    string `json:"token,omitempty"`
	// Stages are the ids of the stages to cut, in PhaseCut: more with each
	// record. Ends are the ends of their repartition topics, by the topic's
	// name in Kafka.
	Stages []string `json:"stages,omitempty"`
	Ends   Offsets  `json:"ends,omitempty"`
	// Reason is why the attempt before this one failed.
	Reason string `json:"reason,omitempty"`
	// Failed is how many attempts before this one failed by themselves, not by
	// a rebalance or the end of their coordinator.
	Failed int       `json:"failed,omitempty"`
	At     time.Time `json:"at"`
}

// TaskStep is how far a task is in an attempt. Each step implies those before.
type TaskStep string

// The steps of a task, in their order.
const (
	TaskOpening  TaskStep = "opening"  // its state is being restored
	TaskRunning  TaskStep = "running"  // it processes records, or would
	TaskPrepared TaskStep = "prepared" // pre-copied
	TaskQuiet    TaskStep = "quiet"    // its last transaction before the cut has ended (P12)
	TaskCut      TaskStep = "cut"      // checkpointed
	TaskCopied   TaskStep = "copied"   // every file is at the location, synced
)

// taskSteps gives each step its rank.
var taskSteps = map[TaskStep]int{
	TaskOpening: 0, TaskRunning: 1, TaskPrepared: 2, TaskQuiet: 3, TaskCut: 4, TaskCopied: 5,
}

// Reached reports whether s is that step or a later one.
func (s TaskStep) Reached(step TaskStep) bool { return taskSteps[s] >= taskSteps[step] }

// Report is what one worker says of its part in an attempt: everything, each
// time, so that only its latest report counts.
type Report struct {
	Request string `json:"request"`
	Attempt int    `json:"attempt"`
	Worker  string `json:"worker"` // instance id: procd.<job>.<seat>.<n>
	// Session is random and new whenever the worker joins the group or its
	// tasks change: another one in the middle of an attempt ends the attempt.
	Session string `json:"session"`
	// Joined says that the worker has found the token: one that has no tasks says
	// so too, since it may get some (P13).
	Joined bool         `json:"joined,omitempty"`
	Tasks  []TaskReport `json:"tasks"` // all that the worker has
	// Bytes is how much the worker copied so far, Total how much it knows that
	// it has to copy, both over all its tasks. They are for the progress bar;
	// and a pre-copy or copy that reports no new bytes for long has failed.
	Bytes int64 `json:"bytes,omitempty"`
	Total int64 `json:"total,omitempty"`
	// PauseMillis is the longest that one of the tasks stood still, as far as
	// it is known.
	PauseMillis int64 `json:"pause_ms,omitempty"`
	// Err ends the attempt; it is shown as its reason.
	Err string    `json:"err,omitempty"`
	At  time.Time `json:"at"`
}

// TaskReport is one task of a report.
type TaskReport struct {
	Stage     string   `json:"stage"`
	Partition int32    `json:"partition"`
	Step      TaskStep `json:"step"`
	// Delivery, from TaskCopied on, is the SHA-256 by which the coordinator
	// finds in the attempt's directory what the task has for the manifest: see
	// savepoint.Delivery. It would be too much for a record.
	Delivery string `json:"delivery,omitempty"`
}

// Result ends a request. It is written by the decider, in one transaction with
// STOPPED where that applies.
type Result struct {
	Request
	// Saved: there is a complete savepoint with the request's id.
	Saved bool `json:"saved"`
	// Stopped: the job stands at exactly that savepoint. False with Stop and
	// Saved means that the savepoint is good, and that the job went on.
	Stopped bool `json:"stopped,omitempty"`
	// Reason says why it is not saved, or saved and not stopped.
	Reason   string `json:"reason,omitempty"`
	Attempts int    `json:"attempts"`
	Location string `json:"location,omitempty"`
	// SHA256 is the checksum of the manifest.
	SHA256 string `json:"sha256,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	Rows   int64  `json:"rows,omitempty"`
	// RowsAtMost: Rows is an upper bound, see [savepoint.Manifest.RowsExact].
	RowsAtMost bool `json:"rows_at_most,omitempty"`
	// PauseMillis is the longest that one task stood still; of a stop, until
	// the savepoint was complete.
	PauseMillis int64 `json:"pause_ms,omitempty"`
	// PhaseMillis is how long the phases of the last attempt took: muster,
	// prepare, cut, copy and publish.
	PhaseMillis map[string]int64 `json:"phase_ms,omitempty"`
	// Started is when the first attempt began.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
}
