// Package control decides: which generation and revision of a job is current,
// whether it is meant to run, and who may say so. It owns the control topic
// (docs/format/control-topic.md) and is the only code that writes it.
//
// What decides is pure: [View] turns records into facts, and [Decide] turns
// facts into a verdict; its scenarios are the text files in testdata. The I/O
// is at the edge, in [Plane].
//
// Order of calls of a process that runs a job:
//
//  1. [Open], which checks the cluster (T3).
//  2. seat.Take, before [Plane.Begin]: the seat's past is removed from the group.
//  3. [Plane.Begin], which returns a [Lease] or a [*Refused]; [Plane.Preview]
//     says what it would do.
//  4. After every sync of the group, before the first fetch: [Lease.Verify]
//     (P2). Meanwhile watch [Tail.Changed] and [Lease.Check] the new view.
//  5. On INCONSISTENT_GROUP_PROTOCOL: Begin again, never a retry of the join.
//  6. [Lease.Tidy] once tasks run. [Lease.Base] where a partition is not detached from the savepoint that
//     its generation began with (P16). Once all of them are: [Lease.Prune] and
//     [Lease.Detached].
//  7. [Plane.Presence] while running; [Plane.Close] last.
//
// Who decides (P1): everything that matters is written in one transaction of
// the transactional id procd.<job>.control, whose holder is the decider.
// Becoming decider fences the one before, so a decision is made on a view that
// was read to its end by its only possible writer. A decider that is fenced,
// or does not know whether its commit was applied, reads back and never
// assumes.
package control
