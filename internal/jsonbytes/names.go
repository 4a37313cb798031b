package jsonbytes

import (
	"encoding/binary"
	"math/bits"
)

// Names finds the members that a decoder knows by their names.
type Names struct {
	table []place // at least half of them free; a name is in the first free one from its hash on
	shift int     // from a hash to a place
}

type place struct {
	ends  uint64
	name  string
	index int // of the name, from 1 on; 0 is free
}

// NewNames returns the table of names, of which none may be there twice.
func NewNames(names []string) Names {
	size := bits.Len(uint(2*len(names) + 1))
	n := Names{table: make([]place, 1<<size), shift: 64 - size}
	for i, name := range names {
		e := ends([]byte(name))
		at := n.first(e)
		for n.table[at].index > 0 {
			at = (at + 1) % len(n.table)
		}
		n.table[at] = place{e, name, i + 1}
	}
	return n
}

// Find returns the index of a name, or -1.
func (n *Names) Find(name []byte) int {
	e := ends(name)
	for at := n.first(e); ; at++ {
		p := &n.table[at&(len(n.table)-1)]
		if p.index == 0 || p.ends == e && len(p.name) == len(name) && (len(name) <= 8 || p.name == string(name)) {
			return p.index - 1
		}
	}
}

// first is where to look for a name first.
func (n *Names) first(ends uint64) int { return int(ends * 0x9e3779b97f4a7c15 >> n.shift) }

// ends are the first four bytes of a name and the last four, which is all of it
// up to eight bytes.
func ends(name []byte) uint64 {
	switch n := len(name); {
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(name)) | uint64(binary.LittleEndian.Uint32(name[n-4:]))<<32
	case n > 0:
		return uint64(name[0]) | uint64(name[n/2])<<8 | uint64(name[n-1])<<16
	}
	return 0
}
