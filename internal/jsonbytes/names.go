package jsonbytes

// Names finds the members that a decoder knows by their names.
type Names struct {
	names []string
	table []int // of twice as many places at least; -1 is a free one
}

// NewNames returns the table of names, of which none may be there twice.
func NewNames(names []string) Names {
	size := 8
	for size < 2*len(names) {
		size *= 2
	}
	n := Names{names: names, table: make([]int, size)}
	for i := range n.table {
		n.table[i] = -1
	}
	for i, name := range names {
		at := hash([]byte(name)) & uint(size-1)
		for n.table[at] >= 0 {
			at = (at + 1) & uint(size-1)
		}
		n.table[at] = i
	}
	return n
}

// Find returns the index of a name, or -1.
func (n *Names) Find(name []byte) int {
	for at := hash(name); ; at++ {
		i := n.table[at&uint(len(n.table)-1)]
		if i < 0 || n.names[i] == string(name) {
			return i
		}
	}
}

// hash looks at as much of a name as usually tells it from the others.
func hash(name []byte) uint {
	if len(name) == 0 {
		return 0
	}
	h := uint32(len(name))<<24 | uint32(name[0])<<16 | uint32(name[len(name)/2])<<8 | uint32(name[len(name)-1])
	return uint(h * 0x9e3779b1 >> 16)
}
