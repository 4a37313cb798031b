package config

import (
	"slices"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/topology"
)

// reduce compiles a step whose state is a record of the stream: the first of a
// key is its state, later ones are combined with it.
func (f *flow) reduce(s *section) {
	uid := s.name("reduce")
	f.unique(s, "reduce", uid)
	fields, slots := f.fields, f.slots
	for _, slot := range slots {
		f.stage.used[slot] = true // all of the record is state
	}
	a := f.stage.object("a", fields)
	b := expr.Object{Name: "b", Fields: fields, Slots: slots}
	n := s.found["set"]
	if n == nil {
		s.fail("reduce", "write set: {n: a.n + b.n}", "a reduce step needs set")
		return
	}
	assigns, copies := f.replace(n, s.path("set"), f.scope(a, b), a)
	place := where(s.node, s.at)
	var required []int
	for i := range fields {
		if !fields[i].Optional {
			required = append(required, a.Slots[i])
		}
	}
	f.states[uid] = fields
	f.stream = topology.ProcessPer(f.stream, uid, func() func(stateCtx, *row.Frame) {
		r := &reducer{where: place, packer: row.NewPacker(fields, a.Slots), set: assigns, copies: copies, state: a.Slots, record: slots, required: required}
		return r.take
	}, topology.StateAs[row.State](row.NewStateType(withoutWire(fields))))
	f.define(fields, a.Slots)
}

// withoutWire drops the names in the data: a state has the job's names.
func withoutWire(fields []row.Field) []row.Field {
	out := slices.Clone(fields)
	for i := range out {
		out[i].Wire = ""
	}
	return out
}

// reducer runs one reduce step in one task.
type reducer struct {
	where         string
	packer        *row.Packer
	required      []int // slots of the state that are never null
	set           []assign
	copies        [][2]int
	state, record []int
}

func (r *reducer) take(c stateCtx, fr *row.Frame) {
	if err := r.combine(c, fr); err != nil {
		c.Fail(err)
		return
	}
	state, err := r.packer.Pack(fr)
	if err != nil {
		c.Fail(&stepError{r.where, err})
		return
	}
	c.Set(state)
	c.Emit(fr)
}

func (r *reducer) combine(c stateCtx, fr *row.Frame) error {
	if !c.Has() {
		for i, slot := range r.state {
			fr.Slots[slot] = fr.Slots[r.record[i]]
		}
		return nil
	}
	if err := r.packer.Unpack(c.State(), fr); err != nil {
		return err
	}
	for _, slot := range r.required {
		if s := &fr.Slots[slot]; s.Null { // added since this state was written
			*s = row.Slot{}
		}
	}
	if err := run(r.set, fr); err != nil {
		return err
	}
	for _, cp := range r.copies {
		fr.Slots[cp[1]] = fr.Slots[cp[0]]
	}
	return nil
}
