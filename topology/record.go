package topology

// Record is one record of an input topic as a task sees it. Its slices are
// valid only while the record is processed.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      int64  // the record's Kafka timestamp, epoch milliseconds; negative: none
	Key       []byte // nil: a null key
	Value     []byte // nil: a null value
	Headers   []Header
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Output is one record that a task wants written. Its slices stay valid until
// [Task.Commit] or [Task.Abort]; they must not be changed.
type Output struct {
	Topic     int   // index in [Plan.Topics]
	Partition int32 // -1: by the key, with the topic's partitioner; any, for a null key
	Time      int64 // Kafka timestamp, epoch milliseconds: the input's, at most now (P23)
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Names of the headers that procd writes.
const (
	// HeaderTime holds the event time of an output, decimal epoch
	// milliseconds, where it differs from the Kafka timestamp (P23).
	HeaderTime = "procd-time"
	// HeaderOrigin is on every record of a repartition topic; see [Origin].
	HeaderOrigin = "procd"

	// HeaderGeneration is on outputs that a task emits again, after a rewind:
	// the generation that does, in decimal. With it come HeaderTopic,
	// HeaderPartition and HeaderOffset, of the record that they are made from
	// (P10). Outputs that are emitted for the first time have none of them.
	HeaderGeneration = "procd-generation"

	// A dead letter's headers: the coordinates of the record in the source
	// topic, and why it was refused.
	HeaderTopic     = "procd-topic"
	HeaderPartition = "procd-partition"
	HeaderOffset    = "procd-offset"
	HeaderError     = "procd-error"
	// HeaderStage is on dead letters of a stage behind a KeyBy: its id. Their
	// key and value are those of the repartition topic.
	HeaderStage = "procd-stage"
)
