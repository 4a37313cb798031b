// Package seat gives a process its durable identity: a locked directory below
// the data directory (P3). What the directory remembers is who the process
// was, in Kafka's eyes, before it was killed; a process that takes the same
// seat again gets its assignment and its local state back at once, and fences
// its own past.
//
// Layout, byte by byte in docs/format/data-directory.md:
//
//	<data>/<job>/seat-<n>/LOCK       held with flock while a process sits here
//	<data>/<job>/seat-<n>/FORMAT     version of this layout
//	<data>/<job>/seat-<n>/identity   ten random base32 characters
//	<data>/<job>/seat-<n>/g<gen>/<store>/<partition>/
//
// Order of calls:
//
//  1. [Take], once per process and job, before anything is said to Kafka.
//  2. [Seat.InstanceID] whenever a worker builds its client, never cached
//     across rebuilds: [Seat.Renew] changes it.
//  3. [Seat.Release] last, when no worker and no store is open any more.
//
// All methods may be called from several goroutines.
package seat
