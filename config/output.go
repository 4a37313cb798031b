package config

import (
	"slices"

	"github.com/procd/procd/config/row"
	"github.com/procd/procd/topology"
)

// output reads where the records go, and ends the flow.
func (f *flow) output(s *section) {
	if !s.has("topic") && !s.has("stdout") && len(s.node.Entries) > len(s.found) {
		return // its destination was reported as unknown, or as not supported yet
	}
	if s.has("topic") == s.has("stdout") {
		f.errorAt(s.node, s.at, "write {topic: NAME} or {stdout: json}", "an output has a topic, or stdout")
		return
	}
	format := s.choice("format", "json", "json", "string", "bytes")
	if s.has("stdout") {
		format = s.choice("stdout", "json", "json", "string")
		for _, k := range []string{"format", "key"} {
			if s.has(k) {
				s.fail(k, "", "%q is for topics", k)
			}
		}
	}
	w := f.outputWire(s, format)
	if s.has("stdout") {
		f.outputTopic = "stdout"
		topology.ToStdout(f.stream, w)
	} else {
		f.outputTopic = s.topic("topic")
		topology.To(f.stream, f.outputTopic, w, f.outputKey(s)...)
	}
	f.note("output " + f.outputTopic)
}

func (f *flow) outputWire(s *section, format string) *wire {
	for _, slot := range f.slots {
		f.stage.used[slot] = true
	}
	fields := withoutWire(f.fields)
	if n := s.found["names"]; n != nil {
		f.rename(n, s.path("names"), fields)
	}
	if format == "json" {
		return &wire{format: format, enc: row.NewEncoder(fields, slices.Clone(f.slots))}
	}
	kind := map[string]row.Kind{"string": row.String, "bytes": row.Bytes}[format]
	if len(fields) != 1 || fields[0].Name != "value" || fields[0].Type.Kind != kind {
		if !f.unsure {
			f.errorAt(s.node, s.at, "end the steps with map: {value: ...}", "format %s needs exactly one field, value: %s; there is %s", format, kind, row.FieldsText(fields))
		}
		return &wire{format: format}
	}
	return &wire{format: format, value: f.slots[0]}
}

func (f *flow) outputKey(s *section) []topology.OutputOption {
	n := s.found["key"]
	if n == nil {
		return nil
	}
	p := &keyPart{n, s.path("key"), f.expression(n, s.path("key"), f.scope(f.record()))}
	if !f.keyPart(p) {
		return nil
	}
	return []topology.OutputOption{newKeying([]*keyPart{p}).output()}
}
