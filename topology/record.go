package topology

// Record is one record of an input topic as a task sees it. Its slices are
// valid only while the record is processed.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      int64  // the record's Kafka timestamp, epoch milliseconds
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
// [Task.Release].
type Output struct {
	Topic     int   // index in [Plan.Topics]
	Partition int32 // -1: by the key, with the topic's partitioner
	Time      int64 // Kafka timestamp, epoch milliseconds (P23)
	Key       []byte
	Value     []byte
	Headers   []Header
}
