// Package coordinator takes savepoints of a running job.
//
// The process that owns the job's first task, partition 0 of its first stage,
// coordinates. What it decides is a pure machine: [Machine.Step] takes an
// [Event] and returns [Effect]s, without I/O, clock or goroutine; its scenarios
// are the text files in testdata. [Run] is its edge: it drives a machine with
// the control topic and the clock, and carries the effects out. The workers see
// none of it: they obey [Current], a function of the control topic, and answer
// with control.Report.
//
// An attempt at a savepoint goes through these phases:
//
//	claim     the decider gives the attempt its number
//	muster    every worker says which tasks it has; the directory is made
//	prepare   every task is checkpointed and pre-copied while work goes on
//	cut       wave by wave, a stage after those whose repartition topics it
//	          reads: come to rest, checkpoint. In a job with one wave each task
//	          goes on at once; otherwise, and in a stop, it stands still
//	release   work goes on; in a stop it does not
//	copied    what is new since the pre-copy is at the location
//	publish   the manifest, last
//	answer    SAVED; of a stop STOPPED in the same transaction
//
// Anything that goes wrong ends the attempt: a rebalance, a worker's error, a
// timeout, an error of the location, the end of its coordinator. The next one
// begins from nothing. After [MaxFailures] that failed by themselves, or
// [MaxAttempts] in all, the savepoint has failed.
//
// The order of things, and why:
//
//  1. A claim is the decider's, and so is an answer; an answer is refused once
//     another attempt is claimed. So between the cut of a stop and STOPPED no
//     later attempt can have let the workers go on (P1, P11, P14).
//  2. Workers drop an attempt when they see a later claim or the result, and
//     for no other reason; a task that is opened meanwhile, where tasks hold,
//     does not start. So a job that is STOPPED stands at its savepoint exactly.
//  3. After its claim and before its prepare, a coordinator discards the
//     directories of all earlier attempts, and then looks for the manifest: no
//     attempt can complete after it was not found (P14). The same happens
//     before FAILED is written.
//  4. The muster comes before the directory is used: from then on another
//     session of a worker, other tasks, or a new worker with tasks end the
//     attempt. A restart or a rebalance before the muster is complete costs
//     nothing.
//  5. The ends of the topics that a wave reads are asked for after every task of
//     the waves before has reported that its last transaction has ended (P12).
//  6. The manifest is written when every task of the plan is reported copied,
//     by exactly one worker, and has delivered, into the attempt's directory,
//     one part for each of its stores at the offsets of its cut, with its
//     repartition topics drained (P12, P14). The report has the delivery's
//     checksum.
//  7. SAVED is written after the manifest is durable. A savepoint without it is
//     unclaimed, and `latest` does not see it (P14).
//  8. If a worker of a stop has left the attempt by the time of the answer, or
//     another coordinator finds the manifest, the result is SAVED and not
//     STOPPED: the savepoint is good and the job goes on (P11).
//  9. Requests are taken one at a time, in the order of asking. One of another
//     run fails (P6), unless its manifest is found.
//  10. What attempts and removals left is removed when a coordinator begins, and
//     when it has answered: only what the control topic, read to its end after
//     the directory was, says that nobody of this job is at, or needs.
//  11. A coordinator that another one has overtaken leaves the request alone
//     while there is news of it.
//
// Rules P are those of the design: docs/architecture.
package coordinator
