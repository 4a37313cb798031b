package topology

import "time"

// MinSavepointEvery is the shortest time between two scheduled savepoints:
// below it a job would do little else.
const MinSavepointEvery = time.Second

// Schedule says which savepoints a job takes by itself. The zero Schedule is
// none.
type Schedule struct {
	// Every is the time between two of them, from the start of the job's run on.
	Every time.Duration
	// Keep is how many of them are kept, at least; 0 is all. Those that a
	// person asked for are not counted and never removed, and one that is in use
	// stays as long as it is.
	Keep int
}

// Savepoints makes the job take a savepoint every so often, and keep the newest
// of those: `savepoints: {every, keep}` of a job file. keep 0 keeps all.
//
// It is no part of [Plan.Hash]: what a job computes does not depend on it.
func Savepoints(every time.Duration, keep int) JobOption {
	return func(j *Job) {
		if every < MinSavepointEvery || keep < 0 {
			j.errorf("Savepoints(%v, %d): savepoints are at least %v apart, and keep is 0 (all) or more", every, keep, MinSavepointEvery)
		}
		j.schedule = Schedule{Every: every, Keep: keep}
	}
}
