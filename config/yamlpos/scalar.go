package yamlpos

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isFlow(c byte) bool  { return strings.IndexByte(",[]{}", c) >= 0 }

// skip goes over blanks, comments and the characters of YAML's structure to
// the next scalar, or to the first of the characters in stop.
func (w *walker) skip(stop string) {
	src := w.file.src
	for w.at < len(src) {
		c := src[w.at]
		switch {
		case strings.IndexByte(stop, c) >= 0:
			return
		case isBlank(c), isFlow(c):
			w.at++
		case c == '#':
			w.at += lineEnd(src[w.at:])
		case w.marker():
			w.at += 3
		case (c == '-' || c == '?' || c == ':') && w.indicator():
			w.at++
		default:
			return
		}
	}
}

func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i
	}
	return len(b)
}

// marker says whether a document marker, three dashes or dots, begins here.
func (w *walker) marker() bool {
	src := w.file.src
	if w.at > 0 && src[w.at-1] != '\n' {
		return false
	}
	rest := src[w.at:]
	if !bytes.HasPrefix(rest, []byte("---")) && !bytes.HasPrefix(rest, []byte("...")) {
		return false
	}
	return len(rest) == 3 || isBlank(rest[3])
}

// indicator says whether the dash, question mark or colon here is one of
// YAML's: a blank follows, or it is the colon right behind a quoted key.
func (w *walker) indicator() bool {
	src := w.file.src
	if w.at+1 >= len(src) || isBlank(src[w.at+1]) {
		return true
	}
	if src[w.at] != ':' {
		return false
	}
	if isFlow(src[w.at+1]) {
		return true
	}
	return w.at > 0 && (src[w.at-1] == '"' || src[w.at-1] == '\'')
}

// text places a plain or quoted scalar.
func (w *walker) text(s *ast.StringNode) *Node {
	var style Style
	var quote byte
	switch s.Token.Type {
	case token.SingleQuoteType:
		style, quote = SingleQuoted, '\''
	case token.DoubleQuoteType:
		style, quote = DoubleQuoted, '"'
	default:
		return w.plain(s.Value, s)
	}
	w.skip(string(quote))
	n := &Node{Style: style, Text: s.Value, file: w.file, offset: w.at}
	if w.at >= len(w.file.src) || w.file.src[w.at] != quote {
		n.offset = w.file.offsetOf(place(s))
		return n
	}
	u := unquoter{src: w.file.src, at: w.at + 1, quote: quote}
	u.run()
	if string(u.text) == s.Value {
		n.offsets = append(u.offsets, u.at)
	}
	w.at = min(u.at+1, len(w.file.src))
	n.Comment = w.comment()
	return n
}

// plain places an unquoted scalar by matching its text, in which line breaks
// were folded, with the bytes.
func (w *walker) plain(text string, s ast.Node) *Node {
	w.skip("")
	n := &Node{Style: Plain, Text: text, file: w.file, offset: w.at}
	offsets, end, ok := matchPlain(w.file.src, w.at, text)
	if !ok {
		n.offset = w.file.offsetOf(place(s))
		return n
	}
	n.offsets, w.at = offsets, end
	if i := strings.Index(text, ": "); i >= 0 {
		w.refuse(offsets[i], text, "a colon followed by a blank inside a plain text")
	}
	n.Comment = w.comment()
	return n
}

func matchPlain(src []byte, at int, text string) (offsets []int, end int, ok bool) {
	offsets = make([]int, 0, len(text)+1)
	for i := 0; i < len(text); {
		switch {
		case at >= len(src):
			return nil, 0, false
		case text[i] == src[at]:
			offsets = append(offsets, at)
			i, at = i+1, at+1
		case isBlank(src[at]) && isBlank(text[i]):
			offsets = append(offsets, at)
			i++
		case isBlank(src[at]) && i > 0 && isBlank(text[i-1]):
			at++
		default:
			return nil, 0, false
		}
	}
	return append(offsets, at), at, true
}

// comment returns the comment behind the scalar that ends here.
func (w *walker) comment() string {
	rest := w.file.src[w.at:]
	line := rest[:lineEnd(rest)]
	text := bytes.TrimLeft(line, " \t")
	if len(text) > 0 && text[0] == '#' && len(text) < len(line) {
		return strings.TrimRight(string(text), " \t\r")
	}
	return ""
}

// block places a literal (|) or folded (>) scalar.
func (w *walker) block(l *ast.LiteralNode) *Node {
	w.skip("|>")
	n := &Node{Style: Literal, Text: l.Value.Value, file: w.file, offset: w.at}
	if w.at < len(w.file.src) && w.file.src[w.at] == '>' {
		n.Style = Folded
	}
	start := w.at + lineEnd(w.file.src[w.at:]) + 1
	end := min(start, len(w.file.src))
	if start <= len(w.file.src) {
		n.offsets, end = matchBlock(w.file.src, start, n.Text)
	}
	w.at = end
	return n
}

// matchBlock matches a block scalar's text with its lines from at on, whose
// common indentation is that of the first line with content. The end is right
// even where the text does not match.
func matchBlock(src []byte, at int, text string) (offsets []int, end int) {
	indent := blockIndent(src[at:])
	limit := at + blockLen(src[at:], indent)
	at = skipIndent(src, at, indent)
	offsets = make([]int, 0, len(text)+1)
	for i := 0; i < len(text); {
		switch {
		case at >= limit:
			if text[i] != '\n' {
				return nil, limit
			}
			offsets = append(offsets, limit)
			i++
		case src[at] == '\r':
			at++
		case src[at] == '\n':
			if text[i] == '\n' || text[i] == ' ' {
				offsets = append(offsets, at)
				i++
			}
			at = skipIndent(src, at+1, indent)
		case src[at] == text[i]:
			offsets = append(offsets, at)
			i, at = i+1, at+1
		default:
			return nil, limit
		}
	}
	return append(offsets, min(at, limit)), limit
}

func blockIndent(b []byte) int {
	for line := range bytes.Lines(b) {
		if t := bytes.TrimLeft(line, " "); len(bytes.TrimSpace(t)) > 0 {
			return len(line) - len(t)
		}
	}
	return 0
}

// blockLen is the length of the leading lines that are empty or indented.
func blockLen(b []byte, indent int) int {
	n := 0
	for line := range bytes.Lines(b) {
		content := bytes.TrimSpace(line)
		own := len(line) - len(bytes.TrimLeft(line, " "))
		if len(content) > 0 && (own < indent || indent == 0) {
			break
		}
		n += len(line)
	}
	return n
}

func skipIndent(src []byte, at, indent int) int {
	for i := 0; i < indent && at < len(src) && src[at] == ' '; i++ {
		at++
	}
	return at
}

// unquoter undoes a quoted scalar, keeping where each byte came from.
type unquoter struct {
	src     []byte
	at      int
	quote   byte
	text    []byte
	offsets []int
}

func (u *unquoter) put(from int, s string) {
	for i := range len(s) {
		u.text = append(u.text, s[i])
		u.offsets = append(u.offsets, from)
	}
}

// run goes on to the closing quote.
func (u *unquoter) run() {
	for u.at < len(u.src) {
		c := u.src[u.at]
		switch {
		case c == u.quote:
			if c == '\'' && u.at+1 < len(u.src) && u.src[u.at+1] == '\'' {
				u.put(u.at, "'")
				u.at += 2
				continue
			}
			return
		case c == '\\' && u.quote == '"':
			u.escape()
		case c == '\n' || c == '\r':
			u.fold()
		default:
			u.put(u.at, string(u.src[u.at:u.at+1]))
			u.at++
		}
	}
}

// fold turns a line break and the blanks around it into one blank, and each
// further line break into a line break.
func (u *unquoter) fold() {
	for n := len(u.text); n > 0 && (u.text[n-1] == ' ' || u.text[n-1] == '\t'); n = len(u.text) {
		u.text, u.offsets = u.text[:n-1], u.offsets[:n-1]
	}
	from, breaks := u.at, 0
	for u.at < len(u.src) && isBlank(u.src[u.at]) {
		if u.src[u.at] == '\n' {
			breaks++
		}
		u.at++
	}
	if breaks == 1 {
		u.put(from, " ")
		return
	}
	u.put(from, strings.Repeat("\n", max(breaks-1, 0)))
}

// escapes are YAML's one-letter escapes.
var escapes = map[byte]string{
	'0': "\x00", 'a': "\a", 'b': "\b", 't': "\t", '\t': "\t", 'n': "\n", 'v': "\v", 'f': "\f", 'r': "\r", 'e': "\x1b",
	' ': " ", '"': "\"", '/': "/", '\\': "\\", 'N': "\u0085", '_': "\u00a0", 'L': "\u2028", 'P': "\u2029",
}

func (u *unquoter) escape() {
	from := u.at
	if u.at+1 >= len(u.src) {
		u.at++
		return
	}
	c := u.src[u.at+1]
	u.at += 2
	switch c {
	case 'x':
		u.hex(from, 2)
	case 'u':
		u.hex(from, 4)
	case 'U':
		u.hex(from, 8)
	case '\r', '\n':
		for u.at < len(u.src) && isBlank(u.src[u.at]) {
			u.at++
		}
	default:
		u.put(from, escapes[c])
	}
}

func (u *unquoter) hex(from, digits int) {
	end := min(u.at+digits, len(u.src))
	n, err := strconv.ParseUint(string(u.src[u.at:end]), 16, 32)
	u.at = end
	if err == nil && n <= utf8.MaxRune {
		u.put(from, string(rune(n)))
	}
}
