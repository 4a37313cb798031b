// Package kstate holds the keyed state of a job's operators: one store per
// operator uid and partition, made of a typed write-back cache in memory, a
// Pebble database on the local disk, and a changelog topic that is the only
// durable truth.
//
// The package knows nothing of Kafka clients. It is handed changelog records to
// restore from, hands out the changelog records that a transaction must carry,
// and is told how the transaction ended.
//
// # The contract
//
//  1. Env.Prepare looks at a store's directory and decides what must be read:
//     the tail of the changelog, or all of it (P17). One directory has one
//     holder per process; Prepare waits, bounded, for the previous one (P4).
//  2. Restore.Apply gets every changelog record from Restore.From on, in order.
//     Restore.Finish makes the directory valid and returns the DB.
//     Restore.Abandon gives it up instead.
//  3. Store.Open attaches the DB. From here on the store is used by one
//     goroutine, the worker's, and only by it.
//  4. Per record: BeginRecord, then any number of Load, Get, Set and Clear;
//     Rollback if the record turned out to be bad. An *Entry is valid until the
//     next BeginRecord, Commit, Abort or Tick.
//  5. Per transaction: Changes once, with every record of it put into the Kafka
//     transaction; then Commit, once the transaction is known to have
//     committed, or Abort.
//  6. Tick between transactions. It starts background writes and reports their
//     errors. After an error the store is closed and restored.
//  7. A savepoint: StartFlush while work goes on, and Checkpoint at the cut.
//  8. A generation that starts from a savepoint: Env.PrepareFromBase instead of
//     Prepare, until the partition is detached. Sweep in each transaction,
//     behind its records and before Changes, until it is done; the transaction
//     in which it is carries the detached mark, and once that has committed,
//     Detach. Then SweepMarkers in the same way (P16). The cursors belong in
//     the transaction's position record, so that they are aborted with it.
//  9. Close. A store found corrupt is wiped when closed, so that the next
//     Prepare restores it from the changelog (S9).
//
// # What is on disk
//
// Only committed entries ever reach Pebble (S1). They do so seconds after their
// commit, in one write that also holds the Position that they belong to and
// every schema that their bytes need: sorted tables, synced and then ingested
// all at once. The write-ahead log is off, because the changelog is the log: a
// crash leaves some committed point on disk together with its position, and
// reading the changelog from there gives the rest.
//
// The bytes are described in docs/format/changelog.md and
// docs/format/store-directory.md.
package kstate
