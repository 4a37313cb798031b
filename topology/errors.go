package topology

import (
	"errors"
	"fmt"
)

// Reasons for which a record is bad; a [BadRecord] wraps them.
var (
	// ErrNullKey: a record without a key reached a step that keeps state per key.
	ErrNullKey = errors.New("procd/topology: the record has no key, but a step with state needs one: have the producer set it, or choose it with KeyBy (`- key:`)")
	// ErrEmptyValue: a record without a value, where the source does not skip them.
	ErrEmptyValue = errors.New("procd/topology: the record has no value; skip such records with EmptyValues(Skip) (`input.empty: skip`)")
	// ErrKeyField: the record key is not the text of the field it should be.
	ErrKeyField = errors.New("procd/topology: the record key is not the text of the key field")
	// ErrTooLarge: an output or a state that the broker would refuse (D2).
	ErrTooLarge = errors.New("procd/topology: larger than the broker takes")
	// ErrPanic: the job's own code panicked.
	ErrPanic = errors.New("procd/topology: panic")
	// ErrTooManyBad: more than half of the last 1,000 records were bad (D1).
	ErrTooManyBad = errors.New("procd/topology: more than half of the last 1,000 records were bad")
	// ErrOrigin: the header of a repartition record is missing or damaged.
	ErrOrigin = errors.New("procd/topology: damaged \"procd\" header of a repartition record")
	// ErrNoState: state was set in a step that has none.
	ErrNoState = errors.New("procd/topology: this step keeps no state; use Process")
)

// BadRecord is the failure of one record. Nothing of the record is kept.
type BadRecord struct {
	// Topic, Partition and Offset are where the record is in the source topic,
	// also where it failed in a stage behind a KeyBy.
	Topic     string
	Partition int32
	Offset    int64
	// Stage is the id of the stage in which the record failed.
	Stage string
	Err   error
}

func (e *BadRecord) Error() string {
	return fmt.Sprintf("bad record %s-%d at offset %d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

func (e *BadRecord) Unwrap() error { return e.Err }

// Refused says that going on would split the state of a key (P24): the record's
// key is on another partition than the source's partitioner would choose.
type Refused struct {
	Topic       string
	Offset      int64
	Key         []byte
	Partition   int32 // where the record is
	Want        int32 // where the partitioner puts its key
	Partitioner Partitioner
}

func (e *Refused) Error() string {
	return fmt.Sprintf("topic %s has key %q on partition %d (offset %d), but %s puts it on %d: "+
		"its state would be split; say which partitioner the producer uses with PartitionedWith (`input.partitioner: murmur2 | crc32 | fnv | any`)",
		e.Topic, e.Key, e.Partition, e.Offset, e.Partitioner, e.Want)
}
