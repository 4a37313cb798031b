package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// errOldView: somebody decided something this process has not read yet.
var errOldView = errors.New("procd/engine: this process's view of the job is old")

// errMoved: somebody else works on the task.
var errMoved = errors.New("procd/engine: the task's offsets moved while it was opened")

// OffsetsError says that the offsets committed in the group are not those that
// the state belongs to (P8). Going on would skip or double records.
type OffsetsError struct {
	Topic     string
	Partition int32
	Group     int64 // committed in the group; -1: nothing
	State     int64 // recorded with the state; -1: nothing
	Foreign   bool  // the commit does not carry this job's metadata
}

func (e *OffsetsError) Error() string {
	where := fmt.Sprintf("topic %s partition %d", e.Topic, e.Partition)
	switch {
	case e.State < 0:
		return fmt.Sprintf("%s: the group has committed offset %d, but no position is recorded with the state", where, e.Group)
	case e.Group < 0:
		return fmt.Sprintf("%s: the state belongs to offset %d, but the group has no committed offset (expired, or deleted by hand)", where, e.State)
	case e.Foreign:
		return fmt.Sprintf("%s: the state belongs to offset %d, but another tool set the group's offset to %d", where, e.State, e.Group)
	default:
		return fmt.Sprintf("%s: the state belongs to offset %d, but the group has committed %d", where, e.State, e.Group)
	}
}

// Hint says how to go on.
func (e *OffsetsError) Hint() string {
	if e.State < 0 {
		return "begin anew with `procd reset`"
	}
	return "continue from the positions recorded with the state with `procd start --offsets-from-state`, or begin anew with `procd reset`"
}

// PartitionError says that an input partition cannot be read on.
type PartitionError struct {
	Topic     string
	Partition int32
	Err       error
	Advice    string
}

func (e *PartitionError) Error() string {
	return fmt.Sprintf("topic %s partition %d: %v", e.Topic, e.Partition, e.Err)
}

func (e *PartitionError) Unwrap() error { return e.Err }

// Hint says how to go on.
func (e *PartitionError) Hint() string { return e.Advice }

// RangeError says that an input does not hold the record that comes next (O1).
type RangeError struct {
	Topic     string
	Partition int32
	Position  int64 // the next record
	Start     int64 // of the log
	End       int64
}

func (e *RangeError) Error() string {
	where := fmt.Sprintf("topic %s partition %d: the next record is at offset %d", e.Topic, e.Partition, e.Position)
	if e.Position < e.Start {
		return fmt.Sprintf("%s, but the topic begins at %d: %d records were deleted before they were read", where, e.Start, e.Start-e.Position)
	}
	return fmt.Sprintf("%s, but the topic ends at %d: the broker lost records that the state has seen", where, e.End)
}

// Hint says how to go on.
func (e *RangeError) Hint() string {
	if e.Position > e.End {
		return fmt.Sprintf("stop the job and start it from a savepoint that was taken before offset %d, or begin anew with `procd reset`", e.End)
	}
	return "stop the job and start it from a savepoint with --accept-gap, or begin anew with `procd reset`; and give the topic a longer retention"
}

// isLocal reports an error of this machine: its disk is full, or a directory
// may not be written.
func isLocal(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}
