// Package topology describes a job as typed streams, checks it, and runs its
// tasks.
//
// A job is built once, in order:
//
//	job := topology.New("motion-alarm")
//	events := topology.From(job, "alarm-events", codec.JSON[Event]())
//	alarms := topology.Process(events, "arm", func(c topology.Ctx[Armed, Alarm], e Event) { ... })
//	topology.To(alarms, "alarms", codec.JSON[Alarm]())
//
// [Job.Plan] then checks everything at once and returns what has to exist in
// Kafka and on disk: stages, stores and topics. A [Plan] makes [Task]s: one per
// stage and partition. A task is the compiled form of its stage, a chain of
// closures that nothing is looked up in while records pass.
//
// The package does no I/O of its own: records go in, and the effects come out
// as [Output]s and changelog records. Whoever drives a task keeps this order:
//
//  1. Open each of [Task.Stores], then [Task.SetProgress] with the position
//     that was restored.
//  2. [Task.Process] for each data record, in the order of its partition; no
//     control records. Effects are taken with [Task.Outputs] and [Task.Take]
//     as often as wanted.
//  3. At the end of the transaction [Task.Changes], once.
//  4. When the transaction is known to have committed [Task.Commit]; when it
//     is known to have aborted [Task.Abort]. Both free the memory of the
//     outputs and changelog records, so nothing may be using it any more.
//
// A task is used by one goroutine at a time. A record is processed whole or not
// at all: one that fails leaves no state and no output, whatever the policy for
// bad records is.
//
// Values pass from step to step by assignment. A step may keep what it is
// given, but must not change what its pointers, slices and maps lead to:
// another step may have been given the same.
//
// [Driver] runs a job without a broker, for tests.
package topology
