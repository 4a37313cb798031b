package yamlpos

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on what is read, so that a hostile file costs neither time nor stack.
const (
	maxBytes = 256 << 10
	maxDepth = 64
)

// Problem is one thing wrong with the file.
type Problem struct {
	Pos    Pos
	Text   string // what it is about, where that is known
	Line   string // the whole line, for hints
	Msg    string
	Syntax bool // the file is no YAML: there is only this problem, and no tree
}

// Error is the message with its place.
func (p *Problem) Error() string { return fmt.Sprintf("%d:%d: %s", p.Pos.Line, p.Pos.Column, p.Msg) }

// Parse reads one document. Where it returns problems with Syntax false the
// tree is there too, with empty scalars in the place of what is refused. An
// empty document is an Absent scalar.
func Parse(src []byte) (*Node, []*Problem) {
	f := newFile(src)
	if p := precheck(f); p != nil {
		return nil, []*Problem{p}
	}
	docs, p := parse(f)
	if p != nil {
		return nil, []*Problem{p}
	}
	w := &walker{file: f}
	if bytes.HasPrefix(src, []byte("\ufeff")) {
		w.at = len("\ufeff")
	}
	var root *Node
	for _, d := range docs {
		if d.Body == nil {
			continue
		}
		if root != nil {
			w.skip("")
			w.refuse(w.at, "", "a second document: a job file holds one")
			break
		}
		root = w.node(d.Body, 0)
	}
	if root == nil {
		root = &Node{file: f}
	}
	return root, w.problems
}

// precheck refuses what the parser should not see at all.
func precheck(f *file) *Problem {
	if len(f.src) > maxBytes {
		return &Problem{Pos: Pos{1, 1}, Msg: fmt.Sprintf("the file has %d bytes; at most %d are read", len(f.src), maxBytes), Syntax: true}
	}
	if !utf8.Valid(f.src) {
		at := 0
		for at < len(f.src) {
			r, size := utf8.DecodeRune(f.src[at:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			at += size
		}
		return f.syntax(at, "the file is not valid UTF-8 here")
	}
	depth := 0
	for i, c := range f.src {
		switch c {
		case '[', '{':
			if depth++; depth > 4*maxDepth {
				return f.syntax(i, "too many brackets are open here")
			}
		case ']', '}':
			depth = max(depth-1, 0)
		case 0:
			return f.syntax(i, "a NUL byte")
		}
	}
	return nil
}

func (f *file) syntax(offset int, msg string) *Problem {
	p := f.pos(offset)
	return &Problem{Pos: p, Line: f.line(p.Line), Msg: msg, Syntax: true}
}

// parse runs the library. It has panicked on hostile input before, and a job
// file must not be able to end the process, so a panic is a syntax error here.
func parse(f *file) (docs []*ast.DocumentNode, p *Problem) {
	defer func() {
		if r := recover(); r != nil {
			p = f.syntax(0, "the YAML parser gave up on this file")
		}
	}()
	tree, err := parser.ParseBytes(f.src, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return tree.Docs, nil
	}
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) {
		return nil, f.syntax(0, firstLine(err.Error()))
	}
	at := Pos{1, 1}
	if t := syntax.Token; t != nil && t.Position != nil {
		at = Pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
	}
	return nil, &Problem{Pos: at, Line: f.line(at.Line), Msg: firstLine(syntax.Message), Syntax: true}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// place is where the parser thinks a node begins.
func place(n ast.Node) Pos {
	if n == nil {
		return Pos{1, 1}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return Pos{t.Position.Line, t.Position.Column}
	}
	return Pos{1, 1}
}

// walker goes through the file's bytes in step with the parsed tree.
type walker struct {
	file     *file
	at       int
	problems []*Problem
}

func (w *walker) refuse(offset int, text, msg string) {
	p := w.file.pos(offset)
	w.problems = append(w.problems, &Problem{Pos: p, Text: text, Line: w.file.line(p.Line), Msg: msg})
}

func (w *walker) node(n ast.Node, depth int) *Node {
	if depth > maxDepth {
		w.refuse(w.at, "", "nested too deeply")
		return w.absent()
	}
	switch v := n.(type) {
	case *ast.MappingNode:
		return w.mapping(v.Values, v.IsFlowStyle, depth)
	case *ast.MappingValueNode:
		return w.mapping([]*ast.MappingValueNode{v}, false, depth)
	case *ast.SequenceNode:
		return w.sequence(v, depth)
	case *ast.StringNode:
		return w.text(v)
	case *ast.LiteralNode:
		return w.block(v)
	case *ast.NullNode:
		if v.Token == nil || v.Token.Type == token.ImplicitNullType {
			return w.absent()
		}
		return w.plain(v.Token.Value, v)
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.MappingKeyNode, *ast.DirectiveNode:
		return w.refused(n)
	case nil:
		return w.absent()
	default: // integers, floats, booleans, infinities: the text as it is written
		return w.plain(n.GetToken().Value, n)
	}
}

func (w *walker) absent() *Node { return &Node{file: w.file, offset: w.at} }

// refused reports a part of YAML that job files do not have.
func (w *walker) refused(n ast.Node) *Node {
	w.skip("&*!?")
	msg := map[ast.NodeType]string{
		ast.TagType:        "YAML tags are not accepted",
		ast.AnchorType:     "YAML anchors are not accepted",
		ast.AliasType:      "YAML aliases are not accepted",
		ast.MergeKeyType:   "YAML merge keys are not accepted",
		ast.MappingKeyType: "a key must be a plain or quoted text",
		ast.DirectiveType:  "YAML directives are not accepted",
	}[n.Type()]
	start := w.at
	for w.at < len(w.file.src) && !isBlank(w.file.src[w.at]) && !isFlow(w.file.src[w.at]) {
		w.at++
	}
	w.refuse(start, string(w.file.src[start:w.at]), msg)
	w.skipRefused(n)
	return &Node{file: w.file, offset: start}
}

// skipRefused steps over the value below a refused node, so that the places
// of what follows stay right.
func (w *walker) skipRefused(n ast.Node) {
	before := len(w.problems)
	switch v := n.(type) {
	case *ast.TagNode:
		w.node(v.Value, maxDepth/2)
	case *ast.AnchorNode:
		w.node(v.Value, maxDepth/2)
	case *ast.MappingKeyNode:
		w.node(v.Value, maxDepth/2)
	}
	w.problems = w.problems[:before]
}

func (w *walker) mapping(values []*ast.MappingValueNode, flow bool, depth int) *Node {
	m := &Node{Kind: Map, Flow: flow, file: w.file}
	if flow {
		w.skip("{")
		m.offset = w.at
		w.at++
	}
	for _, v := range values {
		key := w.node(v.Key, depth+1)
		if key.Kind != Scalar {
			w.refuse(key.offset, "", "a key must be a plain or quoted text")
			key = &Node{file: w.file, offset: key.offset}
		}
		value := w.node(v.Value, depth+1)
		m.Entries = append(m.Entries, Entry{key, value})
	}
	if !flow && len(m.Entries) > 0 {
		m.offset = m.Entries[0].Key.offset
	}
	return m
}

func (w *walker) sequence(s *ast.SequenceNode, depth int) *Node {
	l := &Node{Kind: List, Flow: s.IsFlowStyle, file: w.file}
	if l.Flow {
		w.skip("[")
		l.offset = w.at
		w.at++
	}
	for i, v := range s.Values {
		item := w.node(v, depth+1)
		if i == 0 && !l.Flow {
			l.offset = item.offset
		}
		l.Items = append(l.Items, item)
	}
	return l
}
