// Package jsontest makes JSON for tests: usual texts, rare ones, and some that
// are not quite JSON.
package jsontest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// Texts makes texts in whose objects the given names come often, and mostly
// with values of the given kinds.
type Texts struct {
	Rand  *rand.Rand
	Names map[string]Kind
	names []string // in order, or the same seed would not make the same texts
	b     []byte
}

// Kind is a kind of values: one of "int", "number", "text", "bool", "list",
// "object", or any.
type Kind string

// Next makes a text. Many are broken somewhere.
func (t *Texts) Next() []byte {
	if t.names == nil {
		t.names = slices.Sorted(maps.Keys(t.Names))
	}
	t.b = nil
	t.space()
	if t.one(8) {
		t.value(4)
	} else {
		t.object(4)
	}
	t.space()
	for t.one(4) {
		t.harm()
	}
	return t.b
}

// one is true one time in n.
func (t *Texts) one(n int) bool { return t.Rand.IntN(n) == 0 }

func (t *Texts) any(of ...string) { t.b = append(t.b, of[t.Rand.IntN(len(of))]...) }

func (t *Texts) space() {
	for t.one(6) {
		t.any(" ", "\n", "\t", "\r", "  ")
	}
}

func (t *Texts) value(depth int) {
	kind := t.Rand.IntN(10)
	if depth == 0 {
		kind %= 7
	}
	switch kind {
	case 0, 1, 2:
		t.number()
	case 3, 4:
		t.text()
	case 5:
		t.any("true", "false")
	case 6:
		t.any("null")
	case 7:
		t.list(depth)
	default:
		t.object(depth)
	}
}

func (t *Texts) number() {
	t.any("0", "-0", "1", "-1", "7", "42", "127", "128", "-128", "-129", "255", "256", "32767", "32768", "65535", "65536",
		"2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "9007199254740993",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"9999999999999999999", "10000000000000000000", "18446744073709551615", "18446744073709551616", "00000000000000000000000000001",
		"1.5", "-0.0", "1e3", "1E+2", "1e-7", "1e400", "-1e-400", "3.5e38", "0.1", "01", "-", "1.", ".5", "1e", "+1", "0x1", "NaN", "-Infinity",
		"123456789012345678901234567890", "0.000000000000000000000000000000000000000000000001", "1.7976931348623157e308")
}

func (t *Texts) text() {
	t.b = append(t.b, '"')
	for !t.one(4) {
		t.any("a", "motion", "0123456789", "é", "日本", "😀", "\u2028", "\x7f", "<&>", "/", "'",
			`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `\uD83D\uDE00`, `\u0000`, `\ufffd`, "\ufffd")
		if t.one(100) {
			t.any(`\ud800`, `\udc00`, `\ud83dx`, `\ud83d\u0041`, `\u12`, `\u12g4`, `\x41`, `\`, "\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "\x00", "\x1f", "\n")
		}
	}
	t.b = append(t.b, '"')
}

func (t *Texts) list(depth int) {
	t.members('[', ']', func() { t.value(depth - 1) })
}

func (t *Texts) object(depth int) {
	t.members('{', '}', func() {
		kind := t.name()
		t.space()
		t.b = append(t.b, ':')
		t.space()
		t.valueOf(kind, depth-1)
	})
}

func (t *Texts) members(begin, end byte, member func()) {
	t.b = append(t.b, begin)
	t.space()
	for first := true; !t.one(5); first = false {
		if !first {
			t.b = append(t.b, ',')
			t.space()
		}
		member()
		t.space()
	}
	t.b = append(t.b, end)
}

// name writes one and says what is usual behind it.
func (t *Texts) name() Kind {
	if len(t.names) == 0 || t.one(8) {
		t.text()
		return ""
	}
	name := t.names[t.Rand.IntN(len(t.names))]
	kind := t.Names[name]
	switch t.Rand.IntN(30) {
	case 0:
		name = strings.ToUpper(name)
	case 1:
		name = strings.ReplaceAll(name, "e", `\u0065`)
	}
	t.b = append(append(append(t.b, '"'), name...), '"')
	return kind
}

// valueOf writes a value mostly of this kind.
func (t *Texts) valueOf(kind Kind, depth int) {
	switch {
	case t.one(30):
		t.value(depth)
	case t.one(10):
		t.any("null")
	case kind == "int":
		t.any("0", "-0", "1", "7", "42", "100", "127", "32767", "65535")
	case kind == "number":
		t.any("0", "-0.0", "1.5", "1e3", "-1E-7", "0.1", "3.4e38", "16777217")
	case kind == "text":
		t.text()
	case kind == "bool":
		t.any("true", "false")
	case kind == "list" && depth == 0:
		t.any("[]", "[ ]")
	case kind == "list":
		t.list(depth)
	case kind == "object" && depth == 0:
		t.any("{}", "{ }")
	case kind == "object":
		t.object(depth)
	default:
		t.value(depth)
	}
}

// harm changes some bytes.
func (t *Texts) harm() {
	if len(t.b) == 0 {
		return
	}
	at := t.Rand.IntN(len(t.b))
	switch t.Rand.IntN(4) {
	case 0:
		t.b = t.b[:at]
	case 1:
		t.b = append(t.b[:at], t.b[at+1:]...)
	case 2:
		const usual = "{}[]\",:\\0123456789.eE+-tfn aX/\x00\x1f\x7f\x80\xc3\xff"
		t.b[at] = usual[t.Rand.IntN(len(usual))]
	case 3:
		rest := append([]byte{}, t.b[at:]...)
		t.b = append(t.b[:at], rest[t.Rand.IntN(len(rest)):]...)
		t.b = append(t.b, rest...)
	}
}
