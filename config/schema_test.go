package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestDocsAreCurrent compares the tables in docs/job-file.md with the ones made
// from the keys; -update rewrites them.
func TestDocsAreCurrent(t *testing.T) {
	const file = "../docs/job-file.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := between(t, string(b), "<!-- keys -->\n", "<!-- end of keys -->", KeyTables())
	text = between(t, text, "<!-- settings -->\n", "<!-- end of settings -->", SettingsTables())
	golden(t, file, text)
}

func between(t *testing.T, text, begin, end, content string) string {
	t.Helper()
	i, j := strings.Index(text, begin), strings.Index(text, end)
	if i < 0 || j < i {
		t.Fatalf("no %s", begin)
	}
	return text[:i+len(begin)] + content + text[j:]
}

// TestSchemaKnowsEachKey walks the schema beside the table, and checks that
// every reference leads somewhere.
func TestSchemaKnowsEachKey(t *testing.T) {
	for name, c := range map[string]struct {
		schema  []byte
		objects []*object
	}{"job": {Schema(), jobObjects}, "settings": {schemaOf("settings", settingsObject, settingsObjects), settingsObjects}} {
		var s struct {
			Schema      string `json:"$schema"`
			Definitions map[string]struct {
				Properties map[string]json.RawMessage
				Required   []string
				Additional *bool `json:"additionalProperties"`
			}
		}
		if err := json.Unmarshal(c.schema, &s); err != nil {
			t.Fatal(err)
		}
		if s.Schema != "http://json-schema.org/draft-07/schema#" {
			t.Errorf("%s: %s", name, s.Schema)
		}
		for _, o := range c.objects {
			d, ok := s.Definitions[anchor(o.name)]
			if !ok || d.Additional == nil || *d.Additional {
				t.Errorf("%s: %s is missing or open", name, o.name)
			}
			for _, k := range o.keys {
				if _, ok := d.Properties[k.name]; ok == k.later {
					t.Errorf("%s: %s.%s is in the schema: %v", name, o.name, k.name, ok)
				}
			}
		}
		for rest := string(c.schema); ; {
			_, after, ok := strings.Cut(rest, `"#/definitions/`)
			if !ok {
				break
			}
			target, after, _ := strings.Cut(after, `"`)
			if _, ok := s.Definitions[target]; !ok {
				t.Errorf("%s: a reference to %s leads nowhere", name, target)
			}
			rest = after
		}
	}
}
