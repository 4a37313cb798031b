package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/yamlpos"
)

// reader collects the mistakes of one file while its tree is read.
type reader struct {
	file string
	errs Errors
	vars expander
}

// section is a map of the file with fixed keys.
type section struct {
	r     *reader
	at    string // its place in the document
	node  *yamlpos.Node
	found map[string]*yamlpos.Node
}

func newReader(file string) *reader {
	return &reader{file: file, vars: newExpander(filepath.Dir(file))}
}

// open parses the file. It is nil where there is nothing to go on with.
func (r *reader) open(src []byte) *yamlpos.Node {
	root, problems := yamlpos.Parse(src)
	for _, p := range problems {
		e := &Error{File: r.file, Line: p.Pos.Line, Column: p.Pos.Column, Text: strings.TrimSpace(p.Line), Msg: p.Msg}
		e.Hint = yamlHint(p)
		r.errs = append(r.errs, e)
	}
	if len(problems) > 0 {
		return nil // behind what is refused the parser's tree is a guess
	}
	if root == nil || root.Kind == yamlpos.Scalar && root.Style == yamlpos.Absent {
		if len(r.errs) == 0 {
			r.errs = append(r.errs, &Error{File: r.file, Line: 1, Column: 1, Msg: "the file is empty"})
		}
		return nil
	}
	return root
}

// errorAt reports a mistake at a node.
func (r *reader) errorAt(n *yamlpos.Node, field, hint, format string, args ...any) {
	r.errorPos(n.Pos(), field, excerpt(n), hint, format, args...)
}

func (r *reader) errorPos(p yamlpos.Pos, field, text, hint, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Line: p.Line, Column: p.Column, Field: field, Text: text, Hint: hint, Msg: fmt.Sprintf(format, args...)})
}

// excerpt is the text that a mistake at a node is about.
func excerpt(n *yamlpos.Node) string {
	if n.Kind == yamlpos.Scalar && n.Text != "" {
		return n.Text
	}
	return strings.TrimSpace(n.Line(n.Pos()))
}

// section reads a map whose keys are those of o.
func (r *reader) section(n *yamlpos.Node, o *object, at string) *section {
	s := &section{r: r, at: at, node: n, found: map[string]*yamlpos.Node{}}
	if n.Kind != yamlpos.Map {
		r.errorAt(n, at, "", "a map with keys is expected here, not %s", orNothing(n))
		return nil
	}
	for _, e := range n.Entries {
		r.entry(s, o, e)
	}
	for _, k := range o.keys {
		if k.required && s.found[k.name] == nil {
			r.errorPos(n.Pos(), at, excerpt(n), "", "%q is missing", k.name)
		}
	}
	return s
}

func (r *reader) entry(s *section, o *object, e yamlpos.Entry) {
	name := e.Key.Text
	k := o.find(name)
	switch {
	case k == nil:
		r.unknown(s, o, e.Key)
	case s.found[name] != nil:
		r.errorAt(e.Key, join(s.at, name), "", "the key %q is here twice", name)
	case k.later:
		r.errorAt(e.Key, join(s.at, name), "", "%q is not supported yet", name)
	default:
		s.found[name] = e.Value
	}
}

func (r *reader) unknown(s *section, o *object, key *yamlpos.Node) {
	var all []string
	for _, k := range o.keys {
		if !k.later {
			all = append(all, k.name)
		}
	}
	hint := "there is " + strings.Join(all, ", ")
	if near := expr.Nearest(key.Text, all); near != "" {
		hint = "did you mean " + near + "?"
	}
	if strings.ContainsAny(key.Text, operatorChars) {
		hint = commaHint
	}
	r.errorAt(key, s.at, hint, "unknown key %q", key.Text)
}

// operatorChars in a key say that it is a piece of an expression.
const (
	operatorChars = "()=<>&|+*/\"'"
	commaHint     = "YAML reads a comma inside {} as the end of a value: put the expression into quotes"
)

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// has says whether a key is there.
func (s *section) has(name string) bool { return s.found[name] != nil }

func (s *section) path(name string) string { return join(s.at, name) }

func (s *section) fail(name, hint, format string, args ...any) {
	n := s.found[name]
	if n == nil {
		n = s.node
	}
	s.r.errorAt(n, s.path(name), hint, format, args...)
}

// text reads a text that is no expression, with variables expanded.
func (s *section) text(name string) (string, bool) {
	n := s.found[name]
	if n == nil {
		return "", false
	}
	return s.r.text(n, s.path(name))
}

func (r *reader) text(n *yamlpos.Node, at string) (string, bool) {
	if n.Kind != yamlpos.Scalar || n.Style == yamlpos.Absent {
		r.errorAt(n, at, "", "a text is expected here, not %s", orNothing(n))
		return "", false
	}
	v, i, err := r.vars.expand(n.Text)
	if err != nil {
		// Only the variable is shown: what stands around it may be a secret.
		variable, _, _ := strings.Cut(n.Text[i:], "}")
		r.errorPos(n.At(i), at, variable+"}", "", "%v", err)
		return "", false
	}
	return v, true
}

func orNothing(n *yamlpos.Node) string {
	if n.Kind == yamlpos.Scalar && n.Style == yamlpos.Absent {
		return "nothing"
	}
	return n.Kind.String()
}

// laterValues are in the language, but not in procd yet.
var laterValues = []string{"avro", "avro-registry", "debezium-json", "debezium-avro"}

// choice reads one of the values of an enum.
func (s *section) choice(name, def string, values ...string) string {
	v, ok := s.text(name)
	if !ok {
		return def
	}
	for _, w := range values {
		if v == w {
			return v
		}
	}
	if slices.Contains(laterValues, v) {
		s.fail(name, "", "%s %q is not supported yet", name, v)
		return def
	}
	hint := "there is " + strings.Join(values, ", ")
	if near := expr.Nearest(v, values); near != "" {
		hint = "did you mean " + near + "?"
	}
	s.fail(name, hint, "unknown %s %q", name, v)
	return def
}

func (s *section) duration(name string, def time.Duration) time.Duration {
	v, ok := s.text(name)
	if !ok {
		return def
	}
	d, err := expr.ParseDuration(v)
	if err != nil || d < 0 {
		s.fail(name, "", "%q is no duration, such as 100ms, 5m or 7d", v)
		return def
	}
	return d
}

func (s *section) flag(name string) bool {
	v, ok := s.text(name)
	if !ok {
		return false
	}
	if v != "true" && v != "false" {
		s.fail(name, "", "%q is neither true nor false", v)
	}
	return v == "true"
}

var nameExpr = regexp.MustCompile(namePattern)

// name reads a name of the job's: its own, a uid, or that of a key step.
func (s *section) name(key string) string {
	v, ok := s.text(key)
	if ok && !nameExpr.MatchString(v) {
		s.fail(key, "small letters, digits and dashes, at most 63", "%q is no name", v)
		return ""
	}
	return v
}

// maxTopic is Kafka's bound on the length of a topic's name.
const maxTopic = 249

var topicExpr = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

func (s *section) topic(key string) string {
	v, ok := s.text(key)
	if !ok {
		return ""
	}
	if !topicExpr.MatchString(v) || len(v) > maxTopic || v == "." || v == ".." {
		s.fail(key, "letters, digits, dots, underscores and dashes, at most 249", "%q is no name of a topic", v)
		return ""
	}
	return v
}

// yamlHint guesses which of YAML's characters bit.
func yamlHint(p *yamlpos.Problem) string {
	if strings.HasPrefix(p.Msg, "could not find flow") {
		return commaHint
	}
	keyed := regexp.MustCompile(`^\s*(?:- )?\s*([\w-]+):\s+(.+?)\s*$`).FindStringSubmatch(p.Line)
	if keyed == nil {
		return ""
	}
	key, value := keyed[1], keyed[2]
	switch {
	case strings.Contains(p.Msg, "tags"):
		return "YAML takes a leading ! for itself: write " + key + ": " + quoted(value)
	case value[0] == '"' || value[0] == '\'':
		return "YAML ends the text at the second quote: write " + key + ": " + quoted(value)
	case value[0] == '>' || value[0] == '|':
		return "YAML takes a leading " + value[:1] + " for itself: write " + key + ": " + quoted(value)
	case strings.ContainsRune("%@`&*", rune(value[0])):
		return "YAML takes a leading " + value[:1] + " for itself: write " + key + ": " + quoted(value)
	case strings.Contains(value, ": ") && value[0] != '{' && value[0] != '[':
		return "YAML takes a colon with a blank for itself: write " + key + ": " + quoted(value)
	case strings.Contains(value, ": "):
		return "YAML takes a colon with a blank for itself: put the expression into quotes"
	}
	return ""
}

// quoted is an expression as a YAML scalar that nothing in it can break.
func quoted(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return `"` + s + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
