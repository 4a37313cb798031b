package kstate

// arenaChunk is the size of an arena's pieces. Small enough that an idle store
// costs little, large enough that a busy one allocates rarely.
const arenaChunk = 32 << 10

// arena is memory that is handed out in pieces and taken back all at once. It
// keeps its chunks, so a steady load allocates nothing.
type arena struct {
	chunks [][]byte // each with its used part as its length
	cur    int      // the chunk being filled; len(chunks) if there is none
}

// tail returns an empty slice with room for at least n bytes. The caller
// appends to it, more than n if it must, and hands the result to keep.
func (a *arena) tail(n int) []byte {
	a.reserve(n)
	c := a.chunks[a.cur]
	return c[len(c):len(c):cap(c)]
}

// keep makes b, which grew from tail, part of the arena and returns where it
// lives, without spare capacity.
func (a *arena) keep(b []byte) []byte {
	if len(b) == 0 {
		return b[:0:0]
	}
	if a.cur < len(a.chunks) {
		c := a.chunks[a.cur]
		if cap(c)-len(c) >= len(b) && &b[0] == &c[:len(c)+1][len(c)] {
			a.chunks[a.cur] = c[:len(c)+len(b)]
			return b[:len(b):len(b)]
		}
	}
	dst := a.alloc(len(b))
	copy(dst, b)
	return dst
}

// place is where something is in an arena, without a pointer to it.
type place struct{ chunk, at uint32 }

// place returns n bytes of arbitrary content and where they are.
func (a *arena) place(n int) (place, []byte) {
	b := a.alloc(n)
	return place{uint32(a.cur), uint32(len(a.chunks[a.cur]) - n)}, b
}

// at returns n bytes at a place.
func (a *arena) at(p place, n int) []byte {
	return a.chunks[p.chunk][p.at : int(p.at)+n : int(p.at)+n]
}

// alloc returns n bytes of arbitrary content.
func (a *arena) alloc(n int) []byte {
	a.reserve(n)
	c := a.chunks[a.cur]
	a.chunks[a.cur] = c[:len(c)+n]
	return c[len(c) : len(c)+n : len(c)+n]
}

// reserve makes the current chunk one with room for n bytes.
func (a *arena) reserve(n int) {
	for ; a.cur < len(a.chunks); a.cur++ {
		if c := a.chunks[a.cur]; cap(c)-len(c) >= n {
			return
		}
	}
	a.chunks = append(a.chunks, make([]byte, 0, max(n, arenaChunk)))
}

// reset takes everything back. Chunks that the last round did not need are
// dropped, so that one large transaction does not hold its memory for ever.
func (a *arena) reset() {
	used := min(a.cur+1, len(a.chunks))
	clear(a.chunks[used:])
	a.chunks = a.chunks[:used]
	for i := range a.chunks {
		a.chunks[i] = a.chunks[i][:0]
	}
	a.cur = 0
}
