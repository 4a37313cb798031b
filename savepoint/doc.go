// Package savepoint writes, verifies, reads and judges savepoints: directories
// that hold the source offsets and every store of every partition of a job at
// one consistent cut.
//
// docs/format/savepoint.md describes every byte. The package knows nothing of
// Kafka: who takes part in an attempt, when each store is checkpointed and what
// the brokers say is the caller's.
//
// # Writing
//
//  1. The coordinator calls Location.Begin, which makes the attempt's directory
//     with a token in it. It hands id, attempt number and token to all
//     processes.
//  2. Every process calls Location.Join, which fails where the location is not
//     shared (P13), and may call Attempt.PreCopy for each of its store
//     partitions while work goes on.
//  3. After the cut every process calls Attempt.CopyPart with the checkpoint of
//     each store partition. Tables that were pre-copied from the same database
//     are not copied again (P14). The parts of a task go with where it stands
//     into Attempt.Deliver, and the checksum that it returns to the coordinator.
//  4. The coordinator calls Attempt.Collect for each task, puts everything into
//     a Manifest and calls Attempt.Complete. The manifest is checked, stores of one task against
//     each other too (P14), written last, and the directory gets its name in
//     one step. Before that there is no savepoint.
//
// After any error the attempt is over: Attempt.Abort, from any process, removes
// it. A failed sync is never tried again. A coordinator that takes over calls
// Location.Open first, since its predecessor may have completed, and then
// Begin with a higher number, which discards what is unfinished; no attempt
// that was discarded can complete any more, and none with a lower number begins
// after it (P14).
//
// # Reading
//
// Open reads and checks the manifest, whose checksum covers all of it, and with
// the checksums in it the whole savepoint. Verify reads all the rest. Rows and
// Export verify what they read before they read it. Nothing below a savepoint is
// followed that is not a regular file or directory, and no size is trusted
// before it is checked (D3).
//
// # Portable form
//
// An export holds one Avro object container file for each store, partition and
// schema version: a container has one schema, and resolving older rows to the
// newest version would lose data where only a migration can read them. The
// containers are written by twmb/avro/ocf, which takes encoded rows as they are,
// and read by a small bounded reader, which gives them back as they are. goavro,
// which can do neither and allocates whatever size a block declares, is the
// judge of the bytes in the tests.
package savepoint
