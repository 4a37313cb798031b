package expr

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// explain turns the checker's errors into issues with places and hints.
func (s *Scope) explain(src string, iss *cel.Issues) []Issue {
	var out []Issue
	for _, e := range iss.Errors() {
		msg, hint := s.reword(e.Message, src)
		out = append(out, Issue{Offset: offset(src, e.Location.Line(), e.Location.Column()), Msg: msg, Hint: hint})
		if strings.HasPrefix(e.Message, "Syntax error") {
			break // the rest follow from the first
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Offset < out[j].Offset })
	return out
}

// offset turns a line, from 1, and a column in characters, from 0, into bytes.
func offset(src string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(src[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
	}
	for ; column > 0 && at < len(src); column-- {
		_, size := utf8.DecodeRuneInString(src[at:])
		at += size
	}
	return at
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	reserved   = regexp.MustCompile(`^reserved identifier: (\w+)`)
	noField    = regexp.MustCompile(`^undefined field '([^']*)'`)
	mismatched = regexp.MustCompile(`^Syntax error: (?:mismatched|extraneous) input '((?:[^'\\]|\\.|'[^ ])*)' expecting`)
	wrapper    = regexp.MustCompile(`wrapper\((\w+)\)`)
)

// operatorNames are CEL's internal names of operators.
var operatorNames = map[string]string{
	"_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=", "_==_": "==",
	"_!=_": "!=", "_&&_": "&&", "_||_": "||", "!_": "!", "-_": "-", "_?_:_": "?:", "@in": "in", "_[_]": "[]",
}

func (s *Scope) reword(msg, src string) (string, string) {
	if m := undeclared.FindStringSubmatch(msg); m != nil {
		return s.unknown(m[1])
	}
	if m := reserved.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("%q is a reserved word of expressions", m[1]),
			fmt.Sprintf("give the field another name here with input.names: {%s_: %q}", m[1], m[1])
	}
	if m := overload.FindStringSubmatch(msg); m != nil {
		return mismatch(m[1], wrapper.ReplaceAllString(m[2], "$1?"))
	}
	if m := noField.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("there is no field %q", m[1]), s.fieldHint(m[1])
	}
	if strings.HasPrefix(msg, "Syntax error") {
		return syntax(msg, src)
	}
	return msg, ""
}

func (s *Scope) unknown(name string) (string, string) {
	name = strings.TrimPrefix(name, ".")
	if sh, ok := s.objects["record"]; ok {
		if _, ok := sh.index[name]; ok {
			return fmt.Sprintf("%q means something else here", name), fmt.Sprintf("the field is record.%s", name)
		}
	}
	if IsReserved(name) {
		return fmt.Sprintf("there is no %q here", name), map[string]string{
			"state": "state exists in the rules of a process step",
			"a":     "a and b exist in a reduce step",
			"b":     "a and b exist in a reduce step",
		}[name]
	}
	switch name {
	case "and", "or", "not":
		return fmt.Sprintf("there is no %q in expressions", name), wordHint
	}
	if near := Nearest(name, s.Names()); near != "" {
		return fmt.Sprintf("unknown name %q", name), fmt.Sprintf("did you mean %s?", near)
	}
	names := s.Names()
	sort.Strings(names)
	if len(names) > 0 && len(names) <= 12 {
		return fmt.Sprintf("unknown name %q", name), "there is " + strings.Join(names, ", ") + "; text goes into quotes: '" + name + "'"
	}
	return fmt.Sprintf("unknown name %q", name), "text goes into quotes: '" + name + "'"
}

func (s *Scope) fieldHint(name string) string {
	var all []string
	for _, sh := range s.types.shapes {
		for i := range sh.fields {
			all = append(all, sh.fields[i].Name)
		}
	}
	if near := Nearest(name, all); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return ""
}

const wordHint = "write && for and, || for or, ! for not"

func mismatch(op, args string) (string, string) {
	name := op
	if sign, ok := operatorNames[op]; ok {
		name = sign
	}
	args = strings.TrimSuffix(strings.TrimPrefix(args, "("), ")")
	hint := ""
	switch {
	case strings.Contains(args, "int") && strings.Contains(args, "double"):
		hint = "a whole number and a double do not mix: write 2.0 for 2, or double(x)"
	case op == "_+_" && strings.Contains(args, "string"):
		hint = "text is joined with text: write string(x)"
	case strings.Contains(args, "null"):
		hint = "only a field with ? can be null"
	}
	return fmt.Sprintf("%s does not work on %s", name, args), hint
}

func syntax(msg, src string) (string, string) {
	text := strings.TrimPrefix(msg, "Syntax error: ")
	if m := mismatched.FindStringSubmatch(msg); m != nil {
		text = fmt.Sprintf("unexpected %s", m[1])
		if m[1] == "<EOF>" {
			text = "the expression ends too early"
		}
	} else if strings.HasSuffix(text, "at '<EOF>'") {
		text = "the expression ends too early"
	} else if rest, ok := strings.CutPrefix(text, "token recognition error at: "); ok {
		text = "unexpected " + rest
	} else if i := strings.Index(text, " expecting"); i > 0 {
		text = text[:i]
	}
	hint := ""
	switch {
	case text == "unexpected and", text == "unexpected or", text == "unexpected not":
		hint = wordHint
	case singleEquals.MatchString(src):
		hint = "a comparison is written =="
	case strings.HasPrefix(text, `unexpected '"`), strings.HasPrefix(text, "unexpected ''"):
		hint = "the quotes around a text must be closed"
	}
	return text, hint
}

var singleEquals = regexp.MustCompile(`[^=!<>]=[^=]`)

// Nearest returns the candidate that name is most likely a slip of, or "".
func Nearest(name string, candidates []string) string {
	best, distance := "", min(3, 1+len(name)/3)
	sort.Strings(candidates)
	for _, c := range candidates {
		if d := edits(strings.ToLower(name), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// edits is the number of letters to insert, remove, replace or swap.
func edits(a, b string) int {
	prev2, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, row
	}
	return prev[len(b)]
}
