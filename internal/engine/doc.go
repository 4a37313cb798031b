// Package engine runs the tasks of a job against Kafka, exactly once.
//
// A process has several workers. A worker is one goroutine with one group
// member and one transactional producer; it owns the tasks that the group gave
// it and runs them one batch after another:
//
//  1. poll; kgo holds rebalances back from here on.
//  2. reconcile: close the tasks that were lost, open those that were given,
//     start those whose state is restored.
//  3. process every record that was polled, and produce the outputs.
//  4. when the commit is due: produce changelog and position records, end the
//     transaction. Only when it is known to have committed do the overlays of
//     the stores become state.
//  5. with no transaction open, let a rebalance happen; touch no task until the
//     next poll has returned, since the callbacks of a rebalance may be closing
//     some (P19).
//
// Three rules make this exact. What was polled is processed before the
// transaction ends, since its end commits all of it (T11). The outcome of a
// transaction is never guessed: if nobody knows it, the client is closed, the
// tasks are dropped, and both begin again from what the broker holds (T1). And a
// task only ever starts from offsets that its state is recorded to belong to
// (P8).
//
// Opening a task, that is restoring its state, runs beside the loop; its inputs
// are paused until it is done.
//
// The rules named P, T, O, S and D in comments are those of the design: see
// docs/architecture.
package engine
