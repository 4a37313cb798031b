package savepoint

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/twmb/avro"
)

// maxSchemaBytes bounds one schema, as kstate does.
const maxSchemaBytes = 1 << 20

// rootName is what the top-level record of every state is called here: its name
// says nothing about the bytes, and is ignored in comparisons.
const rootName = "state"

// parseSchema reads a schema of bounded size.
func parseSchema(text string) (*avro.Schema, error) {
	if len(text) > maxSchemaBytes {
		return nil, fmt.Errorf("%w: schema of %d bytes", ErrTooLarge, len(text))
	}
	return avro.Parse(text)
}

// resolves says why rows written with one schema cannot be read with the other,
// by Avro's rules; nil if they can. Names of top-level records are ignored.
// kstate opens stores by the same rules: what passes here must not fail there.
func resolves(writer, reader string) error {
	w, err := parseSchema(writer)
	if err != nil {
		return fmt.Errorf("schema of the savepoint: %w", err)
	}
	r, err := parseSchema(alias(reader, writer))
	if err != nil {
		return fmt.Errorf("schema of the job: %w", err)
	}
	return avro.CheckCompatibility(w, r)
}

// sameSchema says whether two schemas describe the same bytes and values,
// whatever their top-level records are called.
func sameSchema(a, b string) bool {
	if a == b {
		return true
	}
	return resolves(a, b) == nil && resolves(b, a) == nil && canonical(a) == canonical(b)
}

// lostFields are the fields at the top of a record that a reader's does not have:
// what is in them is dropped without an error, by Avro's rules.
func lostFields(writer, reader string) (lost []string) {
	w, errW := parseSchema(writer)
	r, errR := parseSchema(reader)
	if errW != nil || errR != nil {
		return nil
	}
	for _, f := range w.Root().Fields {
		if !slices.ContainsFunc(r.Root().Fields, func(to avro.SchemaField) bool { return to.Name == f.Name || slices.Contains(to.Aliases, f.Name) }) {
			lost = append(lost, f.Name)
		}
	}
	return lost
}

// canonical is a schema's canonical form without the name at its top.
func canonical(text string) string {
	s, err := parseSchema(renamed(text))
	if err != nil {
		return text
	}
	return string(s.Canonical())
}

// alias makes the reader's top-level record known by the writer's name as well.
func alias(reader, writer string) string {
	name, ok := recordName(writer)
	if own, isRecord := recordName(reader); !ok || !isRecord || own == name {
		return reader
	}
	return edit(reader, func(record map[string]any) {
		aliases, _ := record["aliases"].([]any)
		record["aliases"] = append(aliases, name)
	})
}

// renamed gives a top-level record the name of every state. One that refers to
// itself keeps its name.
func renamed(text string) string {
	out := edit(text, func(record map[string]any) {
		record["name"] = rootName
		delete(record, "namespace")
	})
	if _, err := parseSchema(out); err != nil {
		return text
	}
	return out
}

// recordName is the full name of a schema's top-level record.
func recordName(text string) (name string, ok bool) {
	s, err := parseSchema(text)
	if err != nil {
		return "", false
	}
	root := s.Root()
	if root.Type != "record" {
		return "", false
	}
	if root.Namespace != "" {
		return root.Namespace + "." + root.Name, true
	}
	return root.Name, true
}

// edit changes the top-level record of a schema's JSON. What is no record stays
// as it is.
func edit(text string, change func(record map[string]any)) string {
	var record map[string]any
	if err := json.Unmarshal([]byte(text), &record); err != nil || record["type"] != "record" {
		return text
	}
	change(record)
	out, err := json.Marshal(record, json.Deterministic(true))
	if err != nil {
		return text
	}
	return string(out)
}
