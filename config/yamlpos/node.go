package yamlpos

import (
	"sort"
	"unicode/utf8"
)

// Kind is the kind of a [Node].
type Kind uint8

// The kinds of nodes.
const (
	Scalar Kind = iota
	Map
	List
)

// String names the kind as a user would.
func (k Kind) String() string {
	return [...]string{"a value", "a map", "a list"}[k]
}

// Style is how a scalar is written.
type Style uint8

// The styles of scalars. Absent is a value that is not there at all, as in
// `key:` or in `{key}`.
const (
	Absent Style = iota
	Plain
	SingleQuoted
	DoubleQuoted
	Literal
	Folded
)

// Pos is a place in the file: both count from 1, columns in characters.
type Pos struct {
	Line, Column int
}

// Node is a scalar, a map or a list.
type Node struct {
	Kind    Kind
	Style   Style   // of a scalar
	Text    string  // of a scalar, unquoted and unfolded
	Entries []Entry // of a map, in the file's order; keys may repeat
	Items   []*Node // of a list
	Flow    bool    // of a map or list: written with braces
	Comment string  // of a scalar: the comment behind it on its last line, from the number sign on

	file    *file
	offset  int   // of the first byte: the quote or block indicator, where there is one
	offsets []int // of each byte of Text in the file, and of its end; nil: not known
}

// Entry is one key of a map with its value, which is never nil.
type Entry struct {
	Key, Value *Node
}

// Pos is the place where the node begins.
func (n *Node) Pos() Pos { return n.file.pos(n.offset) }

// At is the place in the file of the byte i of Text; i may be len(Text).
func (n *Node) At(i int) Pos {
	if i < 0 || i >= len(n.offsets) {
		return n.Pos()
	}
	return n.file.pos(n.offsets[i])
}

// Get returns the value of the first entry with this key, or nil.
func (n *Node) Get(key string) *Node {
	for _, e := range n.Entries {
		if e.Key.Text == key {
			return e.Value
		}
	}
	return nil
}

// Line is the text of the line on which p lies, without its end.
func (n *Node) Line(p Pos) string { return n.file.line(p.Line) }

// file turns offsets into places.
type file struct {
	src   []byte
	lines []int // offset of each line's first byte
}

func newFile(src []byte) *file {
	f := &file{src: src, lines: []int{0}}
	for i, c := range src {
		if c == '\n' {
			f.lines = append(f.lines, i+1)
		}
	}
	return f
}

func (f *file) pos(offset int) Pos {
	offset = min(max(offset, 0), len(f.src))
	i := sort.SearchInts(f.lines, offset+1) - 1
	return Pos{Line: i + 1, Column: utf8.RuneCount(f.src[f.lines[i]:offset]) + 1}
}

func (f *file) line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	end := len(f.src)
	if n < len(f.lines) {
		end = f.lines[n] - 1
	}
	text := f.src[f.lines[n-1]:end]
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	return string(text)
}

// offsetOf is the inverse of pos, for places that come from the parser.
func (f *file) offsetOf(p Pos) int {
	if p.Line < 1 || p.Line > len(f.lines) {
		return len(f.src)
	}
	at := f.lines[p.Line-1]
	for i := 1; i < p.Column && at < len(f.src) && f.src[at] != '\n'; i++ {
		_, size := utf8.DecodeRune(f.src[at:])
		at += size
	}
	return at
}
