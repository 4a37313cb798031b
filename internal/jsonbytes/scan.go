package jsonbytes

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how many objects and lists may be in one another.
const MaxDepth = 10_000

// Space skips white space, of which there may be none.
func Space(data []byte, at int) int {
	for uint(at) < uint(len(data)) && data[at] <= ' ' && (data[at] == ' ' || data[at] == '\n' || data[at] == '\r' || data[at] == '\t') {
		at++
	}
	return at
}

// Kind is the first byte of what is at a place: '"', '{', '[', 't', 'f', 'n',
// '-' or a digit if it is a value, and 0 at the end of the text.
func Kind(data []byte, at int) byte {
	if uint(at) < uint(len(data)) {
		return data[at]
	}
	return 0
}

// Begin goes from the bracket of an object or list to what is first in it.
// There is more unless the bracket end follows, or something is wrong.
func Begin(data []byte, at int, end byte) (next int, more bool) {
	at = Space(data, at+1)
	if Kind(data, at) == end {
		return at + 1, false
	}
	return at, true
}

// Next goes from behind a value to the next in its object or list. There is
// more unless the bracket end follows, or something is wrong: then, or if at
// is -1, next is -1.
func Next(data []byte, at int, end byte) (next int, more bool) {
	if at < 0 {
		return -1, false
	}
	at = Space(data, at)
	switch Kind(data, at) {
	case ',':
		return Space(data, at+1), true
	case end:
		return at + 1, false
	}
	return -1, false
}

// Name reads the name of a member and the colon. What is between the quotes is
// the name if it is plain, otherwise there are escapes in it. value is the
// place of the value.
func Name(data []byte, at int) (quoted []byte, plain bool, value int) {
	end, plain := String(data, at)
	if end < 0 {
		return nil, false, -1
	}
	colon := Space(data, end)
	if Kind(data, colon) != ':' {
		return nil, false, -1
	}
	return data[at:end], plain, Space(data, colon+1)
}

// String reads a string. It is plain if it has no escapes, so that what is
// between the quotes is the text.
func String(data []byte, at int) (end int, plain bool) {
	if Kind(data, at) != '"' {
		return -1, false
	}
	for at++; at <= len(data)-8; at += 8 {
		if s := special(binary.LittleEndian.Uint64(data[at:])); s != 0 {
			at += bits.TrailingZeros64(s) / 8
			break
		}
	}
	for plain = true; uint(at) < uint(len(data)); {
		switch c := data[at]; {
		case c == '"':
			return at + 1, plain
		case c == '\\':
			plain = false
			if at = escape(data, at); at < 0 {
				return -1, false
			}
		case c < ' ':
			return -1, false
		case c < utf8.RuneSelf:
			at++
		default:
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				return -1, false
			}
			at += n
		}
	}
	return -1, false
}

// special marks the first of eight bytes, if there is one, that is a quote, a
// backslash, a control character or not ASCII. Bytes after it may be marked
// wrongly.
func special(w uint64) uint64 {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^each*'"', w^each*'\\'
	return ((w - each*' ') | (quote - each) | (backslash - each)) & high
}

// escape reads what begins with a backslash.
func escape(data []byte, at int) int {
	switch Kind(data, at+1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at + 2
	case 'u':
		r, ok := hex4(data, at+2)
		if !ok {
			return -1
		}
		if !utf16.IsSurrogate(r) {
			return at + 6
		}
		low, ok := hex4(data, at+8)
		if ok && data[at+6] == '\\' && data[at+7] == 'u' && utf16.DecodeRune(r, low) != utf8.RuneError {
			return at + 12
		}
	}
	return -1
}

func hex4(data []byte, at int) (r rune, ok bool) {
	if at+4 > len(data) {
		return 0, false
	}
	for _, c := range data[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Number reads a number.
func Number(data []byte, at int) int {
	if Kind(data, at) == '-' {
		at++
	}
	if Kind(data, at) == '0' {
		at++
	} else if at = digits(data, at); at < 0 {
		return -1
	}
	if Kind(data, at) == '.' {
		if at = digits(data, at+1); at < 0 {
			return -1
		}
	}
	if c := Kind(data, at); c == 'e' || c == 'E' {
		if c = Kind(data, at+1); c == '+' || c == '-' {
			at++
		}
		return digits(data, at+1)
	}
	return at
}

// digits reads at least one.
func digits(data []byte, at int) int {
	from := at
	for uint(at) < uint(len(data)) && data[at]-'0' < 10 {
		at++
	}
	if at == from {
		return -1
	}
	return at
}

// Whole reads a number without a fraction and exponent. end is also -1 if
// there are more digits than 19 or it is no int64; -0 is 0.
func Whole(data []byte, at int) (n int64, end int) {
	minus := Kind(data, at) == '-'
	if minus {
		at++
	}
	u, end := Natural(data, at)
	switch {
	case end < 0:
		return 0, -1
	case u <= math.MaxInt64 && !minus:
		return int64(u), end
	case u <= -math.MinInt64 && minus:
		return -int64(u), end
	}
	return 0, -1
}

// Natural reads a number without a sign, fraction and exponent. end is also -1
// if there are more digits than 19.
func Natural(data []byte, at int) (n uint64, end int) {
	from := at
	for uint(at) < uint(len(data)) && data[at]-'0' < 10 {
		n = n*10 + uint64(data[at]-'0')
		at++
	}
	c := Kind(data, at)
	if size := at - from; size == 0 || size > 19 || size > 1 && data[from] == '0' || c == '.' || c == 'e' || c == 'E' {
		return 0, -1
	}
	return n, at
}

// Literal reads true, false or null.
func Literal(data []byte, at int) int {
	literal := "null"
	switch Kind(data, at) {
	case 't':
		literal = "true"
	case 'f':
		literal = "false"
	}
	end := at + len(literal)
	if end > len(data) || string(data[at:end]) != literal {
		return -1
	}
	return end
}

// Value reads a value of any kind, in which objects and lists are at most depth
// levels deep.
func Value(data []byte, at, depth int) int {
	switch c := Kind(data, at); c {
	case '"':
		end, _ := String(data, at)
		return end
	case '{':
		return object(data, at, depth)
	case '[':
		return list(data, at, depth)
	case 't', 'f', 'n':
		return Literal(data, at)
	}
	return Number(data, at)
}

func object(data []byte, at, depth int) int {
	if depth == 0 {
		return -1
	}
	at, more := Begin(data, at, '}')
	for more {
		_, _, value := Name(data, at)
		if value < 0 {
			return -1
		}
		at, more = Next(data, Value(data, value, depth-1), '}')
	}
	return at
}

func list(data []byte, at, depth int) int {
	if depth == 0 {
		return -1
	}
	at, more := Begin(data, at, ']')
	for more {
		at, more = Next(data, Value(data, at, depth-1), ']')
	}
	return at
}
