package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
)

// kinds are the keys that say what a step does, and what else each may have.
var kinds = map[string][]string{
	"filter": nil, "map": nil, "set": nil, "drop": nil, "flatmap": {"as", "index"}, "log": nil, "key": {"name"},
	"process": {"state", "rules"}, "reduce": {"set"},
}

// compilers read a step of each kind.
var compilers = map[string]func(*flow, *section){
	"filter": (*flow).filter, "map": (*flow).mapStep, "set": (*flow).setStep, "drop": (*flow).drop, "flatmap": (*flow).flatMap,
	"log": (*flow).logStep, "key": (*flow).keyStep, "process": (*flow).process, "reduce": (*flow).reduce,
}

// steps reads the list of steps.
func (f *flow) steps(n *yamlpos.Node) {
	if n.Kind != yamlpos.List {
		f.errorAt(n, "steps", "each step begins with a dash", "steps are a list, not %s", n.Kind)
		return
	}
	for i, item := range n.Items {
		s := f.section(item, stepObject, fmt.Sprintf("steps[%d]", i))
		if s == nil {
			f.unsure = true
			continue
		}
		before := len(f.errs)
		kind := f.kind(s)
		if compile := compilers[kind]; compile != nil {
			compile(f, s)
		}
		f.unsure = f.unsure || len(f.errs) > before && kind != "filter" && kind != "log"
		f.note(strings.TrimSpace(s.at + " " + kind))
	}
}

// kind finds out what a step is.
func (f *flow) kind(s *section) string {
	var found []string
	for _, k := range []string{"filter", "map", "drop", "flatmap", "log", "key", "process", "reduce"} {
		if s.has(k) {
			found = append(found, k)
		}
	}
	if len(found) == 0 && s.has("set") {
		found = []string{"set"}
	}
	if len(found) != 1 {
		if len(found) == 0 && len(s.node.Entries) > len(s.found) {
			return "" // its key was reported already
		}
		f.errorAt(s.node, s.at, "begin each step with a dash of its own: filter, map, set, drop, flatmap, log, key, process or reduce", "a step does one thing; this does %s", orNone(found))
		return ""
	}
	for name := range s.found {
		if name != found[0] && !slices.Contains(kinds[found[0]], name) {
			s.fail(name, "", "%q does not belong to %s", name, found[0])
		}
	}
	return found[0]
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "none of those procd knows"
	}
	return strings.Join(l, " and ")
}

func (f *flow) filter(s *section) {
	n := s.found["filter"]
	cond := f.condition(n, s.path("filter"), f.scope(f.record()))
	if cond == nil {
		return
	}
	place := where(n, s.path("filter"))
	f.step(func() func(ctx, *row.Frame) {
		return func(c ctx, fr *row.Frame) {
			keep, err := cond.Bool(fr)
			if err != nil {
				c.Fail(&stepError{place, err})
				return
			}
			if keep {
				c.Emit(fr)
			}
		}
	})
}

// assigns gives new slots to values, except to those that are a field already.
func (f *flow) assigns(fields []row.Field, values []*value) (slots []int, out []assign) {
	for i, v := range values {
		if v.slot >= 0 {
			slots = append(slots, v.slot)
			continue
		}
		slot := f.stage.slot()
		slots = append(slots, slot)
		out = append(out, assign{where(v.node, v.at), slot, v.into(fields[i].Type, fields[i].Optional)})
	}
	return slots, out
}

// compute appends a step that fills slots.
func (f *flow) compute(assigns []assign) {
	if len(assigns) == 0 {
		return
	}
	f.step(func() func(ctx, *row.Frame) {
		return func(c ctx, fr *row.Frame) {
			if err := run(assigns, fr); err != nil {
				c.Fail(err)
				return
			}
			c.Emit(fr)
		}
	})
}

func (f *flow) mapStep(s *section) {
	fields, values := f.valueMap(s.found["map"], s.path("map"), f.scope(f.record()))
	if values == nil {
		return
	}
	slots, assigns := f.assigns(fields, values)
	f.compute(assigns)
	f.define(fields, slots)
}

func (f *flow) setStep(s *section) {
	fields, values := f.valueMap(s.found["set"], s.path("set"), f.scope(f.record()))
	if values == nil {
		return
	}
	slots, assigns := f.assigns(fields, values)
	f.compute(assigns)
	f.merge(fields, slots)
}

// merge adds fields to those that are there, or replaces them.
func (f *flow) merge(fields []row.Field, slots []int) {
	all, at := slices.Clone(f.fields), slices.Clone(f.slots)
	for i := range fields {
		if j := row.FieldIndex(all, fields[i].Name); j >= 0 {
			all[j], at[j] = fields[i], slots[i]
			continue
		}
		all, at = append(all, fields[i]), append(at, slots[i])
	}
	f.define(all, at)
}

func (f *flow) drop(s *section) {
	n := s.found["drop"]
	if n.Kind != yamlpos.List {
		s.fail("drop", "write [who, when]", "drop takes a list of fields, not %s", n.Kind)
		return
	}
	fields, slots := slices.Clone(f.fields), slices.Clone(f.slots)
	for _, item := range n.Items {
		i := row.FieldIndex(fields, item.Text)
		if i < 0 {
			if !f.unsure {
				f.errorAt(item, s.path("drop"), f.nearField(item.Text, fields), "there is no field %q", item.Text)
			}
			continue
		}
		fields, slots = slices.Delete(fields, i, i+1), slices.Delete(slots, i, i+1)
	}
	f.define(fields, slots)
}

func (f *flow) flatMap(s *section) {
	n := s.found["flatmap"]
	list := f.expression(n, s.path("flatmap"), f.scope(f.record()))
	as, index := f.newField(s, "as"), f.newField(s, "index")
	if !s.has("as") {
		s.fail("flatmap", "write as: item below it", "flatmap needs a name for the element: \"as\" is missing")
	}
	if list == nil || as == "" {
		return
	}
	if list.Storable() != nil || list.Type == nil || list.Type.Kind != row.List {
		s.fail("flatmap", "", "flatmap takes a list; this is %s", typeText(list))
		return
	}
	at, elem, number := f.stage.slot(), f.stage.slot(), f.stage.slot()
	place := where(n, s.path("flatmap"))
	f.step(func() func(ctx, *row.Frame) {
		return func(c ctx, fr *row.Frame) {
			if err := list.Eval(fr, &fr.Slots[at]); err != nil {
				c.Fail(&stepError{place, err})
				return
			}
			for i, e := range fr.Slots[at].L {
				fr.Slots[elem] = e
				fr.Slots[number].SetWhole(int64(i))
				c.Emit(fr)
			}
		}
	})
	fields, slots := []row.Field{{Name: as, Type: list.Type.Elem}}, []int{elem}
	if index != "" {
		fields, slots = append(fields, row.Field{Name: index, Type: row.Of(row.Long)}), append(slots, number)
	}
	f.merge(fields, slots)
}

// newField reads the name of a field that a step makes.
func (f *flow) newField(s *section, key string) string {
	v, ok := s.text(key)
	if !ok || !f.fieldName(s.found[key], v, s.path(key)) {
		return ""
	}
	return v
}

// logEvery is how often a log step writes at most.
const logEvery = time.Second

func (f *flow) logStep(s *section) {
	n := s.found["log"]
	msg := f.message(n, s.path("log"), f.scope(f.record()))
	if msg == nil {
		return
	}
	place := where(n, s.path("log"))
	f.step(func() func(ctx, *row.Frame) {
		var last time.Time
		return func(c ctx, fr *row.Frame) {
			// The clock decides only about the log, never about results.
			if now := time.Now(); now.Sub(last) >= logEvery {
				last = now
				// Nor may an error here: which records are bad must not depend
				// on when they were processed.
				if text, err := msg.Text(fr); err != nil {
					c.Logger().Warn("log step failed", "step", place, "error", err)
				} else {
					c.Logger().Info(strings.Clone(text), "step", place)
				}
			}
			c.Emit(fr)
		}
	})
}
