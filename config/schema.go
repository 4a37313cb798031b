package config

import (
	"encoding/json"
	"fmt"
	"strings"
)

// anchor is a heading's name in a link, and an object's in the JSON Schema.
func anchor(heading string) string { return strings.ReplaceAll(heading, " ", "-") }

// Schema is the JSON Schema (draft 7) of the job file, for editors.
func Schema() []byte { return schemaOf("procd job file", jobObject, jobObjects) }

func schemaOf(title string, top *object, all []*object) []byte {
	definitions := map[string]any{}
	for _, o := range all {
		definitions[anchor(o.name)] = objectSchema(o)
	}
	b, err := json.MarshalIndent(map[string]any{
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"title":       title,
		"allOf":       []any{ref(top)},
		"definitions": definitions,
	}, "", "  ")
	if err != nil {
		panic(err) // maps, lists and texts only
	}
	return append(b, '\n')
}

func objectSchema(o *object) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, k := range o.keys {
		if k.later {
			continue
		}
		p := map[string]any{}
		for name, v := range k.shape.schema {
			p[name] = v
		}
		if k.doc != "" && p["$ref"] == nil { // draft 7 ignores what stands beside $ref
			p["description"] = k.doc
		}
		properties[k.name] = p
		if k.required {
			required = append(required, k.name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// KeyTables is the docs' tables of the keys of a job file, in Markdown.
func KeyTables() string { return tables(jobObjects) }

// SettingsTables is the same for the settings file.
func SettingsTables() string { return tables(settingsObjects) }

func tables(objects []*object) string {
	var b strings.Builder
	for _, o := range objects {
		fmt.Fprintf(&b, "### %s\n\n", o.name)
		if o.doc != "" {
			fmt.Fprintf(&b, "%s\n\n", o.doc)
		}
		b.WriteString("| key | value | default | |\n|---|---|---|---|\n")
		for _, k := range o.keys {
			if k.later {
				continue
			}
			def := k.def
			if k.required {
				def = "required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, k.shape.text, def, k.doc)
		}
		b.WriteString("\n")
	}
	return b.String()
}
