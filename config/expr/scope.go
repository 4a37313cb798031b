package expr

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/procd/procd/config/row"
)

// Object is a record that expressions name as a whole, such as state or meta.
type Object struct {
	Name   string
	Fields []row.Field
	Slots  []int // of each field, in the frame
}

// Reserved are the names that always mean something else than a field of that
// name, which is reached as record.NAME.
var Reserved = []string{"meta", "record", "state", "left", "right", "a", "b", "old", "window", "timer"}

// IsReserved says whether a field of this name needs record. in front of it.
func IsReserved(name string) bool {
	for _, r := range Reserved {
		if r == name {
			return true
		}
	}
	return false
}

// keywords are CEL's reserved words, which no expression can name at all.
var keywords = strings.Fields("in as for function package import namespace var let loop void const if else while break continue return true false null")

// IsKeyword says whether a name is one of CEL's reserved words.
func IsKeyword(name string) bool {
	for _, k := range keywords {
		if k == name {
			return true
		}
	}
	return false
}

// Scope is what the expressions at one place of a job may use.
type Scope struct {
	env     *cel.Env
	types   *provider
	fields  map[string]valueRef // by the names that stand alone
	objects map[string]*shape
	used    func(slot int)
}

// valueRef is where a value is.
type valueRef struct {
	typ      *row.Type
	optional bool
	slot     int
}

// NewScope makes a scope. The fields of the object named record, if there is
// one, may also be named alone. used, which may be nil, is told each slot that
// an expression reads.
func NewScope(used func(slot int), objects ...Object) (*Scope, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, fmt.Errorf("procd/config: CEL: %w", err)
	}
	if used == nil {
		used = func(int) {}
	}
	s := &Scope{types: newProvider(base.CELTypeProvider()), fields: map[string]valueRef{}, objects: map[string]*shape{}, used: used}
	opts := []cel.EnvOption{cel.CustomTypeProvider(s.types)}
	for _, o := range objects {
		opts = append(opts, s.declare(o)...)
	}
	if s.env, err = base.Extend(opts...); err != nil {
		return nil, fmt.Errorf("procd/config: CEL: %w", err)
	}
	return s, nil
}

func (s *Scope) declare(o Object) []cel.EnvOption {
	sh := shapeOf(o.Fields)
	sh.slots = o.Slots
	s.objects[o.Name] = sh
	s.types.add(shapeOf(o.Fields))
	opts := []cel.EnvOption{cel.Variable(o.Name, sh.typ)}
	if o.Name != "record" {
		return opts
	}
	for i, f := range o.Fields {
		if IsReserved(f.Name) || IsKeyword(f.Name) {
			continue
		}
		s.fields[f.Name] = valueRef{f.Type, f.Optional, o.Slots[i]}
		opts = append(opts, cel.Variable(f.Name, s.types.celType(f.Type, f.Optional)))
	}
	return opts
}

// Field returns the expression that a field's name alone is, also where the
// name is reserved.
func (s *Scope) Field(name string) (*Expr, bool) {
	sh, ok := s.objects["record"]
	if !ok {
		return nil, false
	}
	i, ok := sh.index[name]
	if !ok {
		return nil, false
	}
	f := &sh.fields[i]
	r := valueRef{f.Type, f.Optional, sh.slots[i]}
	s.used(r.slot)
	return &Expr{Type: r.typ, Optional: r.optional, Source: name, node: slotNode(r.typ, r.optional, frameSlot(r.slot)), Slot: r.slot}, true
}

// Names returns the names that a field may be misspelt for.
func (s *Scope) Names() []string {
	var names []string
	for name := range s.fields {
		names = append(names, name)
	}
	for name := range s.objects {
		names = append(names, name)
	}
	return names
}

// Compile checks and compiles an expression.
func (s *Scope) Compile(src string) (*Expr, []Issue) {
	checked, iss := s.env.Compile(src)
	if iss != nil && iss.Err() != nil {
		return nil, s.explain(src, iss)
	}
	tree := checked.NativeRep()
	c := &compiler{scope: s, tree: tree}
	e := &Expr{Source: src, Slot: -1}
	e.node = c.compile(tree.Expr())
	if c.err != nil {
		return nil, []Issue{{Msg: c.err.Error()}}
	}
	e.Type, e.Optional, e.typeErr = s.types.rowType(tree.GetType(tree.Expr().ID()))
	if e.typeErr == nil && tree.GetType(tree.Expr().ID()).Kind() == types.NullTypeKind {
		e.Type = nil
	}
	s.passThrough(tree.Expr(), e)
	s.note(tree.Expr())
	return e, nil
}

// passThrough keeps the declared type of a field that is named alone: `room`
// stays an int, where room + 1 is a long.
func (s *Scope) passThrough(x ast.Expr, e *Expr) {
	c := &compiler{scope: s}
	if r, ok := c.ref(x); ok {
		e.Type, e.Optional, e.Slot = r.typ, r.optional, r.slot
	}
}

// note tells which slots an expression reads: of an object those of the fields
// selected from it, or all of them where it is used as a whole.
func (s *Scope) note(x ast.Expr) {
	operand := map[int64]bool{} // identifiers that something is selected from
	ast.PostOrderVisit(x, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.SelectKind || x.AsSelect().Operand().Kind() != ast.IdentKind {
			return
		}
		sh, ok := s.objects[x.AsSelect().Operand().AsIdent()]
		if !ok {
			return
		}
		operand[x.AsSelect().Operand().ID()] = true
		if i, ok := sh.index[x.AsSelect().FieldName()]; ok {
			s.used(sh.slots[i])
		}
	}))
	ast.PostOrderVisit(x, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.IdentKind || operand[x.ID()] {
			return
		}
		if r, ok := s.fields[x.AsIdent()]; ok {
			s.used(r.slot)
		}
		if sh, ok := s.objects[x.AsIdent()]; ok {
			for _, slot := range sh.slots {
				s.used(slot)
			}
		}
	}))
}
