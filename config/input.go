package config

import (
	"time"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
	"github.com/procd/procd/topology"
)

// input reads the source, and begins the flow. It is false where nothing that
// follows can be checked.
func (f *flow) input(s *section) bool {
	topic := s.topic("topic")
	format := s.choice("format", "json", "json", "string", "bytes")
	fields, ok := f.inputFields(s, format)
	f.unsure = !ok
	f.stage = newStage()
	in := f.stage.object("record", fields)
	f.define(fields, in.Slots)
	w := &wire{format: format, fields: fields, in: f.stage, slots: in.Slots}
	opts := []topology.SourceOption{
		topology.EmptyValues(topology.Policy(s.choice("empty", "fail", "fail", "skip"))),
		topology.PartitionedWith(topology.Partitioner(s.choice("partitioner", "murmur2", "murmur2", "crc32", "fnv", "any"))),
		topology.OnBadRecord(f.onBad(s)),
	}
	if start, ok := f.start(s); ok {
		opts = append(opts, topology.StartAt(start))
	}
	if n := s.found["time"]; n != nil {
		opts = append(opts, f.eventTime(f.section(n, timeObject, s.path("time")), w)...)
	}
	if k := f.inputKey(s); k != nil {
		opts = append(opts, k.source())
	}
	f.source = &source{topic: topic, wire: w, key: f.key}
	f.stream = topology.From(f.job, topic, w, opts...)
	f.fillMeta()
	f.note("input " + topic)
	return ok
}

func (f *flow) inputFields(s *section, format string) ([]row.Field, bool) {
	n := s.found["fields"]
	if format != "json" {
		if n != nil {
			s.fail("fields", "", "format %s has one field, value; it is not declared", format)
		}
		kind := row.String
		if format == "bytes" {
			kind = row.Bytes
		}
		return []row.Field{{Name: "value", Type: row.Of(kind)}}, true
	}
	if n == nil {
		s.fail("fields", "write fields: {name: type, ...}", "format json needs the fields")
		return nil, false
	}
	before := len(f.errs)
	fields := f.reader.fields(n, s.path("fields"))
	if n := s.found["names"]; n != nil {
		f.rename(n, s.path("names"), fields)
	}
	return fields, len(f.errs) == before
}

func (f *flow) onBad(s *section) topology.Policy {
	n := s.found["on-bad-record"]
	if n != nil && n.Kind == yamlpos.Map {
		d := f.section(n, deadLetterObject, s.path("on-bad-record"))
		if topic := d.topic("dead-letter"); topic != "" {
			return topology.DeadLetter(topic)
		}
		return topology.Fail
	}
	return topology.Policy(s.choice("on-bad-record", "fail", "fail", "skip"))
}

func (f *flow) start(s *section) (topology.Start, bool) {
	v, ok := s.text("start")
	if !ok {
		return topology.Start{}, false
	}
	switch v {
	case "earliest":
		return topology.Start{Kind: topology.StartEarliest}, true
	case "latest":
		return topology.Start{Kind: topology.StartLatest}, true
	}
	if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return topology.Start{Kind: topology.StartAtTime, Time: at.UnixMilli()}, true
	}
	if d, err := expr.ParseDuration(v); err == nil && d > 0 {
		return topology.Start{Kind: topology.StartAgo, Ago: d}, true
	}
	s.fail("start", "write earliest, latest, a time such as 2026-01-31T00:00:00Z, or how long ago, such as 7d", "%q is no place to start at", v)
	return topology.Start{}, false
}

func (f *flow) eventTime(s *section, w *wire) []topology.SourceOption {
	if s == nil {
		return nil
	}
	unit := s.choice("unit", "ms", "ms", "s", "us", "ns", "rfc3339")
	outOfOrder := s.duration("out-of-order", 0)
	s.duration("idle", 30*time.Second) // has no effect before windows and timers
	i, ok := f.namedField(s, "field")
	if !ok {
		return nil
	}
	g := &f.fields[i]
	switch {
	case g.Optional:
		s.fail("field", "", "the event time cannot be optional")
	case unit == "rfc3339" && g.Type.Kind != row.String:
		s.fail("field", "a timestamp reads RFC 3339 by itself: leave unit out", "unit rfc3339 is for a string, and %q is a %s", g.Name, g.Type)
	case unit != "rfc3339" && !g.Type.Kind.Whole():
		s.fail("field", "", "the event time is a whole number, and %q is a %s", g.Name, g.Type)
	case unit != "ms" && g.Type.Kind == row.Timestamp:
		s.fail("unit", "", "a timestamp is in milliseconds")
	}
	f.stage.used[f.slots[i]] = true
	w.when = &eventTime{field: g, slot: f.slots[i], unit: unit, out: f.stage.slot()}
	out := w.when.out
	return []topology.SourceOption{topology.EventTime(func(fr *row.Frame) int64 { return fr.Slots[out].N }, outOfOrder)}
}

// namedField reads the name of a field that is there.
func (f *flow) namedField(s *section, key string) (int, bool) {
	name, ok := s.text(key)
	if !ok {
		return 0, false
	}
	i := row.FieldIndex(f.fields, name)
	if i < 0 {
		if !f.unsure {
			s.fail(key, f.nearField(name, f.fields), "there is no field %q", name)
		}
		return 0, false
	}
	return i, true
}

// inputKey reads the field whose text the record key is.
func (f *flow) inputKey(s *section) keying {
	n := s.found["key"]
	if n == nil {
		return nil
	}
	key, ks := "key", s
	if n.Kind == yamlpos.Map {
		if ks = f.section(n, inputKeyObject, s.path("key")); ks == nil {
			return nil
		}
		key = "field"
	}
	i, ok := f.namedField(ks, key)
	if !ok {
		return nil
	}
	e, _ := f.scope(f.record()).Field(f.fields[i].Name)
	p := &keyPart{ks.found[key], ks.path(key), e}
	if !f.keyPart(p) {
		return nil
	}
	f.key = &f.fields[i]
	return newKeying([]*keyPart{p})
}
