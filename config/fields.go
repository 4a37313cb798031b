package config

import (
	"regexp"
	"strings"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/config/row"
	"github.com/procd/procd/config/yamlpos"
)

var identExpr = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// fields reads a map of names and types.
func (r *reader) fields(n *yamlpos.Node, at string) []row.Field {
	if n.Kind != yamlpos.Map {
		r.errorAt(n, at, "write {name: type, ...}", "fields are a map of names and types, not %s", n.Kind)
		return nil
	}
	var out []row.Field
	for _, e := range n.Entries {
		name, optional := strings.CutSuffix(e.Key.Text, "?")
		if !r.fieldName(e.Key, name, at) {
			continue
		}
		if row.FieldIndex(out, name) >= 0 {
			r.errorAt(e.Key, at, "", "the field %q is here twice", name)
			continue
		}
		if t := r.fieldType(e.Value, join(at, name)); t != nil {
			out = append(out, row.Field{Name: name, Type: t, Optional: optional})
		}
	}
	return out
}

// fieldName says whether expressions can name a field like this.
func (r *reader) fieldName(key *yamlpos.Node, name, at string) bool {
	switch {
	case !identExpr.MatchString(name):
		hint := "letters, digits and underscores; if the data says it so, choose another name here and give the data's in names:"
		if strings.ContainsAny(name, operatorChars) {
			hint = commaHint
		}
		r.errorAt(key, at, hint, "%q cannot be the name of a field", name)
		return false
	case expr.IsKeyword(name):
		r.errorAt(key, at, "choose another name here and give the data's: names: {"+name+"_: \""+name+"\"}", "%q is a reserved word of expressions", name)
		return false
	}
	return true
}

func (r *reader) fieldType(n *yamlpos.Node, at string) *row.Type {
	switch n.Kind {
	case yamlpos.List:
		if len(n.Items) != 1 {
			r.errorAt(n, at, "write [string]", "the type of a list names one type")
			return nil
		}
		if elem := r.fieldType(n.Items[0], at); elem != nil {
			return &row.Type{Kind: row.List, Elem: elem}
		}
		return nil
	case yamlpos.Map:
		return r.mapType(n, at)
	}
	if k, ok := row.KindNamed(n.Text); ok {
		return row.Of(k)
	}
	r.unknownType(n, at)
	return nil
}

func (r *reader) mapType(n *yamlpos.Node, at string) *row.Type {
	if len(n.Entries) == 1 && n.Entries[0].Key.Text == "string" {
		if elem := r.fieldType(n.Entries[0].Value, at); elem != nil {
			return &row.Type{Kind: row.Map, Elem: elem}
		}
		return nil
	}
	if len(n.Entries) == 0 {
		r.errorAt(n, at, "write {string: long} for a map, {x: long, y: long} for a record", "the type of a record names its fields")
		return nil
	}
	return &row.Type{Kind: row.Record, Fields: r.fields(n, at)}
}

func (r *reader) unknownType(n *yamlpos.Node, at string) {
	all := []string{"bool", "int", "long", "float", "double", "string", "bytes", "timestamp"}
	others := map[string]string{
		"integer": "int", "int32": "int", "int64": "long", "bigint": "long", "boolean": "bool", "text": "string", "str": "string", "varchar": "string",
		"number": "double", "float32": "float", "float64": "double", "date": "timestamp", "datetime": "timestamp", "time": "timestamp", "binary": "bytes",
	}
	hint := "there is " + strings.Join(all, ", ") + ", [T], {string: T} and {name: T, ...}"
	if t, ok := others[strings.ToLower(n.Text)]; ok {
		hint = "did you mean " + t + "?"
	} else if near := expr.Nearest(n.Text, all); near != "" {
		hint = "did you mean " + near + "?"
	}
	if strings.HasSuffix(n.Text, "?") {
		hint = "the question mark goes behind the name: who?: string"
	}
	r.errorAt(n, at, hint, "unknown type %q", n.Text)
}

// rename applies a names: section to fields.
func (r *reader) rename(n *yamlpos.Node, at string, fields []row.Field) {
	if n.Kind != yamlpos.Map {
		r.errorAt(n, at, `write {user_id: "user-id"}`, "names are a map, not %s", n.Kind)
		return
	}
	for _, e := range n.Entries {
		i := row.FieldIndex(fields, e.Key.Text)
		if i < 0 {
			r.errorAt(e.Key, at, r.nearField(e.Key.Text, fields), "there is no field %q", e.Key.Text)
			continue
		}
		if fields[i].Wire != "" {
			r.errorAt(e.Key, at, "", "the key %q is here twice", e.Key.Text)
			continue
		}
		fields[i].Wire, _ = r.text(e.Value, join(at, e.Key.Text))
	}
	seen := map[string]string{}
	for i := range fields {
		if other, ok := seen[fields[i].OnWire()]; ok {
			r.errorAt(n, at, "", "%s and %s have the same name in the data, %q", other, fields[i].Name, fields[i].OnWire())
		}
		seen[fields[i].OnWire()] = fields[i].Name
	}
}

func (r *reader) nearField(name string, fields []row.Field) string {
	var all []string
	for i := range fields {
		all = append(all, fields[i].Name)
	}
	if near := expr.Nearest(name, all); near != "" {
		return "did you mean " + near + "?"
	}
	if len(all) == 0 || len(all) > 12 {
		return ""
	}
	return "there is " + strings.Join(all, ", ")
}
