package config

import (
	"fmt"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/topology"
)

// keying is a key made of expressions, as topology wants it: typed.
type keying interface {
	source() topology.SourceOption
	output() topology.OutputOption
	rekey(s topology.Stream[*row.Frame], name string, c codec.Codec[*row.Frame]) topology.Stream[*row.Frame]
}

type keyOf[K topology.Key] struct {
	make func() func(*row.Frame) (K, error)
}

func (k keyOf[K]) source() topology.SourceOption { return topology.PartitionedByPer(k.make) }
func (k keyOf[K]) output() topology.OutputOption { return topology.KeyedByPer(k.make) }
func (k keyOf[K]) rekey(s topology.Stream[*row.Frame], name string, c codec.Codec[*row.Frame]) topology.Stream[*row.Frame] {
	return topology.KeyByPer(s, name, k.make, c)
}

// keyPart is one expression of a key.
type keyPart struct {
	node *yamlpos.Node
	at   string
	e    *expr.Expr
}

// check reports what cannot be a key.
func (f *flow) keyPart(p *keyPart) bool {
	if p == nil || p.e == nil {
		return false
	}
	if err := p.e.Storable(); err != nil {
		f.errorAt(p.node, p.at, "", "%v", err)
		return false
	}
	if p.e.Type == nil || p.e.Type.Kind.Real() || !p.e.Type.Kind.Scalar() {
		f.errorAt(p.node, p.at, "a key is a whole number, a bool or a text", "%s cannot be a key", typeText(p.e))
		return false
	}
	return true
}

// newKeying makes the key of one part, or the composite one of several.
func newKeying(parts []*keyPart) keying {
	if len(parts) > 1 {
		return compositeKey(parts)
	}
	p := parts[0]
	switch k := p.e.Type.Kind; {
	case k == row.Bool:
		return scalarKey(p, func(s *row.Slot) bool { return s.Bool() })
	case k.Whole():
		return scalarKey(p, func(s *row.Slot) int64 { return s.N })
	case k == row.Bytes:
		return scalarKey(p, func(s *row.Slot) []byte { return []byte(s.S) })
	}
	return scalarKey(p, func(s *row.Slot) string { return s.S })
}

func scalarKey[K topology.Key](p *keyPart, of func(*row.Slot) K) keying {
	place := where(p.node, p.at)
	return keyOf[K]{func() func(*row.Frame) (K, error) {
		var s row.Slot
		return func(fr *row.Frame) (K, error) {
			err := p.e.Eval(fr, &s)
			if err == nil && s.Null {
				err = row.ErrNull
			}
			if err != nil {
				var zero K
				return zero, &stepError{place, err}
			}
			return of(&s), nil
		}
	}}
}

func compositeKey(parts []*keyPart) keying {
	return keyOf[topology.CompositeKey]{func() func(*row.Frame) (topology.CompositeKey, error) {
		var s row.Slot
		var key, text []byte
		return func(fr *row.Frame) (topology.CompositeKey, error) {
			key = key[:0]
			for _, p := range parts {
				err := p.e.Eval(fr, &s)
				if err == nil {
					text, err = row.AppendText(text[:0], p.e.Type.Kind, &s)
				}
				if err != nil {
					return "", &stepError{where(p.node, p.at), err}
				}
				key = topology.AppendPart(key, text)
			}
			return topology.CompositeKey(view(key)), nil // read before the next call
		}
	}}
}

// keyStep compiles a step that re-partitions: what follows is another stage.
func (f *flow) keyStep(s *section) {
	name := s.name("name")
	if !s.has("name") {
		s.fail("key", "write name: by-user below it: it names the Kafka topic", "a key step needs a name")
	} else {
		f.unique(s, "name", name)
	}
	parts, ok := f.keyParts(s.found["key"], s.path("key"))
	if !ok || name == "" {
		return
	}
	// All fields travel, used or not: records that are under way when the job
	// is changed must have what the new version reads.
	for _, slot := range f.slots {
		f.stage.used[slot] = true
	}
	next := newStage()
	fields := withoutWire(f.fields)
	in := next.object("record", fields)
	c := &wire{format: "json", fields: fields, in: next, slots: in.Slots, enc: row.NewEncoder(fields, f.slots)}
	f.stream = newKeying(parts).rekey(f.stream, name, c)
	f.stage = next
	f.define(fields, in.Slots)
	f.fillMeta()
}

// keyParts reads an expression, a list of them, or a map, whose names become
// fields of the record.
func (f *flow) keyParts(n *yamlpos.Node, at string) ([]*keyPart, bool) {
	sc := f.scope(f.record())
	switch n.Kind {
	case yamlpos.Map:
		return f.namedParts(n, at, sc)
	case yamlpos.Scalar:
		p := &keyPart{n, at, f.expression(n, at, sc)}
		return []*keyPart{p}, f.keyPart(p)
	}
	if len(n.Items) == 0 {
		f.errorAt(n, at, "", "a key has at least one part")
		return nil, false
	}
	var parts []*keyPart
	ok := true
	for i, item := range n.Items {
		at := fmt.Sprintf("%s[%d]", at, i)
		p := &keyPart{item, at, f.expression(item, at, sc)}
		ok = f.keyPart(p) && ok
		parts = append(parts, p)
	}
	return parts, ok
}

func (f *flow) namedParts(n *yamlpos.Node, at string, sc *expr.Scope) ([]*keyPart, bool) {
	fields, values := f.valueMap(n, at, sc)
	if len(values) == 0 {
		return nil, false
	}
	slots, assigns := f.assigns(fields, values)
	f.compute(assigns)
	f.merge(fields, slots)
	var parts []*keyPart
	ok := true
	named := f.scope(f.record())
	for i := range fields {
		e, _ := named.Field(fields[i].Name)
		p := &keyPart{values[i].node, values[i].at, e}
		ok = f.keyPart(p) && ok
		parts = append(parts, p)
	}
	return parts, ok
}
