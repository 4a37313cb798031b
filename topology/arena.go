package topology

import "unsafe"

// chunkSize is the size of an arena's chunks: small enough that a task with
// little to write is cheap, large enough that moving on is rare.
const chunkSize = 64 << 10

// arena is the memory of a task's outputs. Chunks never move while they are in
// use, so what was handed out stays where it is until reset.
type arena struct {
	chunks [][]byte // each of chunkSize; those before cur are full
	cur    int
	used   int // in chunks[cur]
	// reserve is the room that begin leaves for a value: as much as the largest
	// needed so far, so that values rarely outgrow the chunk they start in.
	reserve int
	peak    int // chunks in use before the last reset
}

// arenaMark is a place to go back to.
type arenaMark struct{ cur, used int }

// begin returns an empty slice to append one value to; end takes it back.
func (a *arena) begin() []byte {
	if len(a.chunks) == 0 {
		a.chunks = append(a.chunks, make([]byte, chunkSize))
	}
	if chunkSize-a.used < a.reserve {
		a.next()
	}
	return a.chunks[a.cur][a.used:a.used:chunkSize]
}

func (a *arena) next() {
	a.cur++
	a.used = 0
	if a.cur == len(a.chunks) {
		a.chunks = append(a.chunks, make([]byte, chunkSize))
	}
}

// end keeps what was appended to begin's slice and returns it. A value that
// outgrew its chunk has memory of its own already, and keeps it.
func (a *arena) end(b []byte) []byte {
	a.reserve = max(a.reserve, min(len(b), chunkSize/4))
	if unsafe.SliceData(b) == unsafe.SliceData(a.chunks[a.cur][a.used:]) {
		a.used += len(b)
	}
	return b[:len(b):len(b)]
}

// copy keeps a copy of b; nil stays nil.
func (a *arena) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	return a.end(append(a.begin(), b...))
}

func (a *arena) mark() arenaMark { return arenaMark{a.cur, a.used} }

// rewind drops what was kept since the mark.
func (a *arena) rewind(m arenaMark) { a.cur, a.used = m.cur, m.used }

// reset drops everything. A chunk that the last two rounds did not need goes
// back to the garbage collector, so that a burst is not paid for for ever.
func (a *arena) reset() {
	used := a.cur + 1
	if n := len(a.chunks); n > used && n > a.peak {
		a.chunks[n-1] = nil
		a.chunks = a.chunks[:n-1]
	}
	a.peak, a.cur, a.used = used, 0, 0
}
