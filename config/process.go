package config

import (
	"errors"
	"fmt"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/topology"
)

// stateCtx is what a step with state works with.
type stateCtx = topology.Ctx[row.State, *row.Frame]

// ErrRejected is what a rule's `reject` makes of a record.
var ErrRejected = errors.New("rejected")

// rule is a compiled rule of a process step.
type rule struct {
	where  string
	when   *expr.Expr // nil: always
	reject *expr.Expr
	set    []assign // into slots aside: all see the old state
	copies [][2]int // from there into the state's
	clear  bool
	emits  [][]assign
}

// emitted is one record that a rule emits, as it is written.
type emitted struct {
	rule   *rule
	fields []row.Field
	values []*value
}

func (f *flow) process(s *section) {
	uid := s.name("process")
	f.unique(s, "process", uid)
	var fields []row.Field
	if n := s.found["state"]; n != nil {
		fields = f.reader.fields(n, s.path("state"))
	}
	state := f.stage.object("state", fields)
	rules, emits := f.rules(s, state)
	if f.states[uid] = fields; !s.has("rules") {
		s.fail("process", "", "a process step needs rules")
		return
	}
	f.emits(s, rules, emits)
	f.stream = topology.ProcessPer(f.stream, uid, func() func(stateCtx, *row.Frame) {
		p := &processor{rules: rules, packer: row.NewPacker(fields, state.Slots)}
		return p.take
	}, topology.StateAs[row.State](row.NewStateType(fields)))
}

// rules reads the rules, and what they emit.
func (f *flow) rules(s *section, state expr.Object) (rules []*rule, emits []*emitted) {
	list := s.found["rules"]
	if list == nil {
		return nil, nil
	}
	if list.Kind != yamlpos.List {
		s.fail("rules", "each rule begins with a dash", "rules are a list, not %s", list.Kind)
		return nil, nil
	}
	sc := f.scope(f.record(), state)
	for i, item := range list.Items {
		rs := f.section(item, ruleObject, fmt.Sprintf("%s[%d]", s.path("rules"), i))
		if rs == nil {
			continue
		}
		r, out := f.rule(rs, sc, state)
		rules, emits = append(rules, r), append(emits, out...)
	}
	return rules, emits
}

func (f *flow) rule(s *section, sc *expr.Scope, state expr.Object) (*rule, []*emitted) {
	r := &rule{where: where(s.node, s.at), clear: s.flag("clear")}
	if n := s.found["when"]; n != nil {
		r.when = f.condition(n, s.path("when"), sc)
	}
	if n := s.found["reject"]; n != nil {
		r.reject = f.message(n, s.path("reject"), sc)
		if s.has("set") || s.has("emit") || s.has("clear") {
			s.fail("reject", "", "a rule that rejects does nothing else: nothing of the record is kept")
		}
	}
	if n := s.found["set"]; n != nil {
		if s.has("clear") {
			s.fail("set", "", "a rule either sets the state or clears it")
		}
		f.setState(n, s.path("set"), sc, state, r)
	}
	if n := s.found["emit"]; n != nil {
		return r, f.emit(n, s.path("emit"), sc, r)
	}
	return r, nil
}

// setState reads new values for fields of a state.
func (f *flow) setState(n *yamlpos.Node, at string, sc *expr.Scope, state expr.Object, r *rule) {
	assigns, copies := f.replace(n, at, sc, state)
	r.set, r.copies = assigns, copies
}

// replace reads a map of new values for an object's fields. They are computed
// into slots of their own first, since all of them see the old ones.
func (f *flow) replace(n *yamlpos.Node, at string, sc *expr.Scope, o expr.Object) (assigns []assign, copies [][2]int) {
	if n.Kind != yamlpos.Map {
		f.errorAt(n, at, "write {name: expression, ...}", "a map of names and expressions is expected here, not %s", orNothing(n))
		return nil, nil
	}
	seen := map[string]bool{}
	for _, e := range n.Entries {
		name := e.Key.Text
		i := row.FieldIndex(o.Fields, name)
		switch {
		case i < 0:
			if f.fieldName(e.Key, name, at) {
				f.errorAt(e.Key, at, f.nearField(name, o.Fields), "the state has no field %q", name)
			}
			continue
		case seen[name]:
			f.errorAt(e.Key, at, "", "the field %q is here twice", name)
			continue
		}
		seen[name] = true
		v := f.value(e.Key, e.Value, join(at, name), sc)
		if v == nil {
			continue
		}
		if err := v.assignable(o.Fields[i].Type); err != nil {
			f.errorAt(v.node, v.at, "", "%v", err)
			continue
		}
		slot := f.stage.slot()
		assigns = append(assigns, assign{where(v.node, v.at), slot, v.into(o.Fields[i].Type, o.Fields[i].Optional)})
		copies = append(copies, [2]int{slot, o.Slots[i]})
	}
	return assigns, copies
}

// emit reads the record or records that a rule emits.
func (f *flow) emit(n *yamlpos.Node, at string, sc *expr.Scope, r *rule) []*emitted {
	if n.Kind == yamlpos.Scalar && n.Text == "record" {
		return []*emitted{f.wholeRecord(n, at, sc, r)}
	}
	items, places := []*yamlpos.Node{n}, []string{at}
	if n.Kind == yamlpos.List {
		items, places = n.Items, nil
		for i := range items {
			places = append(places, fmt.Sprintf("%s[%d]", at, i))
		}
	}
	var out []*emitted
	for i, item := range items {
		if f.sentElsewhere(item, places[i]) {
			continue
		}
		if fields, values := f.valueMap(item, places[i], sc); values != nil {
			out = append(out, &emitted{r, fields, values})
		}
	}
	return out
}

// sentElsewhere reports an emit with `to`, which names a stream.
func (f *flow) sentElsewhere(n *yamlpos.Node, at string) bool {
	for _, e := range n.Entries {
		if e.Key.Text == "to" {
			f.errorAt(e.Key, join(at, "to"), "", "\"to\" is not supported yet")
			return true
		}
	}
	return false
}

// wholeRecord is `emit: record`: all the fields of the record.
func (f *flow) wholeRecord(n *yamlpos.Node, at string, sc *expr.Scope, r *rule) *emitted {
	out := &emitted{rule: r, fields: f.fields}
	for i := range f.fields {
		if e, ok := sc.Field(f.fields[i].Name); ok {
			out.values = append(out.values, exprValue(n, at, e))
		}
	}
	return out
}

// emits settles the fields of what the step emits, and fills the rules. A field
// that not every emit has is optional.
func (f *flow) emits(s *section, rules []*rule, emits []*emitted) {
	fields := f.union(emits)
	slots := make([]int, len(fields))
	for i := range slots {
		slots[i] = f.stage.slot()
	}
	for _, e := range emits {
		var out []assign
		for i := range fields {
			j := row.FieldIndex(e.fields, fields[i].Name)
			if j < 0 {
				out = append(out, assign{e.rule.where, slots[i], setNull})
				continue
			}
			v := e.values[j]
			out = append(out, assign{where(v.node, v.at), slots[i], v.into(fields[i].Type, fields[i].Optional)})
		}
		e.rule.emits = append(e.rule.emits, out)
	}
	f.define(fields, slots)
}

func setNull(_ *row.Frame, dst *row.Slot) error {
	dst.SetNull()
	return nil
}

// union is the fields of all emits together.
func (f *flow) union(emits []*emitted) []row.Field {
	var fields []row.Field
	count := map[string]int{}
	for _, e := range emits {
		for i, g := range e.fields {
			count[g.Name]++
			j := row.FieldIndex(fields, g.Name)
			if j < 0 {
				fields = append(fields, row.Field{Name: g.Name, Type: g.Type, Optional: g.Optional})
				continue
			}
			fields[j].Optional = fields[j].Optional || g.Optional
			t, ok := common(fields[j].Type, g.Type)
			if !ok {
				v := e.values[i]
				f.errorAt(v.node, v.at, "all emits of a step give a field the same type", "the field %q is %s here, and %s in an emit before", g.Name, g.Type, fields[j].Type)
			}
			fields[j].Type = t
		}
	}
	for i := range fields {
		if count[fields[i].Name] < len(emits) {
			fields[i].Optional = true
		}
	}
	return fields
}

// common is the type of a field that holds values of both types.
func common(a, b *row.Type) (*row.Type, bool) {
	switch {
	case a.Equal(b):
		return a, true
	case a.Kind.Whole() && b.Kind.Whole():
		return row.Of(row.Long), true
	case a.Kind.Real() && b.Kind.Real():
		return row.Of(row.Double), true
	}
	return a, false
}

// processor runs the rules of one process step in one task.
type processor struct {
	rules  []*rule
	packer *row.Packer
}

func (p *processor) take(c stateCtx, fr *row.Frame) {
	if err := p.packer.Unpack(c.State(), fr); err != nil {
		c.Fail(err)
		return
	}
	for _, r := range p.rules {
		if r.when != nil {
			ok, err := r.when.Bool(fr)
			if err != nil {
				c.Fail(&stepError{r.where + ": when", err})
				return
			}
			if !ok {
				continue
			}
		}
		if err := p.apply(r, c, fr); err != nil {
			c.Fail(err)
		}
		return
	}
}

// apply does what a rule says: set, then emit, then clear.
func (p *processor) apply(r *rule, c stateCtx, fr *row.Frame) error {
	if r.reject != nil {
		reason, err := r.reject.Text(fr)
		if err != nil {
			return &stepError{r.where, err}
		}
		return fmt.Errorf("%w: %s", ErrRejected, reason)
	}
	if len(r.set) > 0 {
		if err := p.set(r, c, fr); err != nil {
			return err
		}
	}
	for _, emit := range r.emits {
		if err := run(emit, fr); err != nil {
			return err
		}
		c.Emit(fr)
	}
	if r.clear {
		c.Clear()
	}
	return nil
}

func (p *processor) set(r *rule, c stateCtx, fr *row.Frame) error {
	if err := run(r.set, fr); err != nil {
		return err
	}
	for _, cp := range r.copies {
		fr.Slots[cp[1]] = fr.Slots[cp[0]]
	}
	state, err := p.packer.Pack(fr)
	if err != nil {
		return &stepError{r.where, err}
	}
	c.Set(state)
	return nil
}
