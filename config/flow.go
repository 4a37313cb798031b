package config

import (
	"fmt"
	"strings"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/topology"
)

// stage is what runs in one task between two topics. All fields that it ever
// names have slots of their own in one frame, so that steps hand on the frame
// and copy nothing: a step that computes a field fills its slot, and one that
// drops a field forgets its name.
type stage struct {
	slots int
	used  map[int]bool // by some expression or output; the others are not decoded
	meta  expr.Object
}

func newStage() *stage {
	s := &stage{used: map[int]bool{}}
	s.meta = s.object("meta", metaFields)
	return s
}

// slot makes a new slot.
func (s *stage) slot() int {
	s.slots++
	return s.slots - 1
}

// object gives each field a slot.
func (s *stage) object(name string, fields []row.Field) expr.Object {
	o := expr.Object{Name: name, Fields: fields, Slots: make([]int, len(fields))}
	for i := range fields {
		o.Slots[i] = s.slot()
	}
	return o
}

// flow is the stream of records at one point of the job, while it is read.
type flow struct {
	*reader
	job    *topology.Job
	stream topology.Stream[*row.Frame]
	stage  *stage
	fields []row.Field // of the records here
	slots  []int       // of each field
	names  map[string]yamlpos.Pos
	states map[string][]row.Field // by uid
	unsure bool                   // an earlier mistake hides what the fields are
	types  strings.Builder        // for validate --types

	source      *source
	key         *row.Field // that the source's key is the text of
	outputTopic string
}

// ctx is what a stateless step works with.
type ctx = topology.Ctx[topology.None, *row.Frame]

// scope is what expressions may use here.
func (f *flow) scope(objects ...expr.Object) *expr.Scope {
	s, err := expr.NewScope(func(slot int) { f.stage.used[slot] = true }, append(objects, f.stage.meta)...)
	if err != nil {
		f.errs = append(f.errs, &Error{File: f.file, Msg: err.Error()})
		f.unsure = true
		s, _ = expr.NewScope(nil)
	}
	return s
}

func (f *flow) record() expr.Object {
	return expr.Object{Name: "record", Fields: f.fields, Slots: f.slots}
}

// unique reports a uid or name that another step has.
func (f *flow) unique(s *section, key, name string) {
	pos := s.found[key].Pos()
	if first, ok := f.names[name]; ok {
		s.fail(key, "each process, reduce and key step has a name of its own: it names a topic", "the name %q is taken by the step in line %d", name, first.Line)
		return
	}
	f.names[name] = pos
}

// step appends a stateless step.
func (f *flow) step(make func() func(c ctx, fr *row.Frame)) {
	f.stream = topology.FlatMapPer(f.stream, make)
}

// note remembers the fields after a step.
func (f *flow) note(what string) {
	fmt.Fprintf(&f.types, "%-28s %s\n", what, row.FieldsText(f.fields))
}

// define makes the records' fields these from here on.
func (f *flow) define(fields []row.Field, slots []int) { f.fields, f.slots = fields, slots }

// stepError is why a record failed in a step.
type stepError struct {
	where string
	err   error
}

// Error says where and why.
func (e *stepError) Error() string { return e.where + ": " + e.err.Error() }

// Unwrap gives the reason.
func (e *stepError) Unwrap() error { return e.err }

// where names a place of the file for errors at run time.
func where(n *yamlpos.Node, at string) string {
	return fmt.Sprintf("%s (line %d)", at, n.Pos().Line)
}
