package kstate

import "math/bits"

// heap is memory for the bytes of entries, which come and go one by one. Who
// has a piece of it keeps its place, not a pointer: a million keys are nothing
// to the garbage collector.
type heap struct {
	data arena
	free map[int32][]place // by the size of the piece
}

// Pieces are as large as what they are for, rounded up: to 16 bytes, and above
// 1 KiB, where few different sizes are better than tight ones, to a power of two.
const (
	pieceRound = 16
	pieceLarge = 1 << 10
)

func pieceSize(n int) int32 {
	if n > pieceLarge {
		return 1 << bits.Len(uint(n-1))
	}
	return int32(max(n, 1)+pieceRound-1) &^ (pieceRound - 1)
}

// alloc returns a piece of at least n bytes of arbitrary content.
func (h *heap) alloc(n int) (at place, size int32) {
	size = pieceSize(n)
	if free := h.free[size]; len(free) > 0 {
		h.free[size] = free[:len(free)-1]
		return free[len(free)-1], size
	}
	at, _ = h.data.place(int(size))
	return at, size
}

// release takes a piece back.
func (h *heap) release(at place, size int32) {
	if h.free == nil {
		h.free = make(map[int32][]place)
	}
	h.free[size] = append(h.free[size], at)
}

// bytes are the first n bytes of a piece, which n = 0 does not need.
func (h *heap) bytes(at place, n int) []byte {
	if n == 0 {
		return nil
	}
	return h.data.at(at, n)
}
