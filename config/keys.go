package config

// The one table of what may stand in a job file or a settings file. The parser
// refuses what is not in it, the JSON Schema and the docs are made from it.

// object is a map with fixed keys.
type object struct {
	name string // its heading in the docs
	doc  string
	keys []key
}

// key is one key of an object.
type key struct {
	name     string
	shape    shape
	required bool
	def      string // what holds without it, for the docs
	doc      string
	later    bool // in the language, but not in procd yet
}

// shape is what may be the value of a key.
type shape struct {
	text   string         // for the docs
	schema map[string]any // JSON Schema, draft 7
	of     *object        // of a map, or of a list's items, with fixed keys
}

func (o *object) find(name string) *key {
	for i := range o.keys {
		if o.keys[i].name == name {
			return &o.keys[i]
		}
	}
	return nil
}

func plain(text, typ string) shape { return shape{text: text, schema: map[string]any{"type": typ}} }

func enum(values ...string) shape {
	text := ""
	for i, v := range values {
		if i > 0 {
			text += ", "
		}
		text += "`" + v + "`"
	}
	return shape{text: text, schema: map[string]any{"enum": values}}
}

func pattern(text, re string) shape {
	return shape{text: text, schema: map[string]any{"type": "string", "pattern": re}}
}

func anyOf(text string, schemas ...map[string]any) shape {
	return shape{text: text, schema: map[string]any{"anyOf": schemas}}
}

func mapOf(o *object) shape {
	return shape{text: "[" + o.name + "](#" + anchor(o.name) + ")", schema: ref(o), of: o}
}

func listOf(o *object) shape {
	return shape{text: "list of [" + o.name + "](#" + anchor(o.name) + ")", schema: map[string]any{"type": "array", "items": ref(o)}, of: o}
}

func ref(o *object) map[string]any { return map[string]any{"$ref": "#/definitions/" + anchor(o.name)} }

const (
	namePattern     = `^[a-z0-9][a-z0-9-]{0,62}$`
	durationPattern = `^([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*$`
)

var (
	scalarTypes = []string{"string", "number", "boolean", "null"}
	exprSchema  = map[string]any{"type": scalarTypes}

	name     = pattern("name", namePattern)
	duration = pattern("duration", durationPattern)
	text     = plain("text", "string")
	boolean  = plain("`true` or `false`", "boolean")
	number   = shape{text: "number from 1 up", schema: map[string]any{"type": "integer", "minimum": 1}}
	exprText = shape{text: "expression", schema: exprSchema}
	exprs    = shape{text: "map of expressions", schema: map[string]any{"type": "object"}}
	anything = shape{text: "", schema: map[string]any{}}
	fieldSet = shape{text: "fields", schema: map[string]any{"type": "object"}}
	names    = shape{text: "map of text", schema: map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}}
)

var guaranteesObject = &object{name: "guarantees", keys: []key{
	{name: "commit", shape: duration, def: "`100ms`", doc: "how often a transaction ends: how late outputs may be seen"},
}}

var savepointsObject = &object{name: "savepoints", doc: "Savepoints that the job takes by itself, beside those that people ask for. Where they go is a setting: `savepoint-dir`.", keys: []key{
	{name: "every", shape: duration, required: true, doc: "the time between two, from the start of the job on: `6h`; at least `1s`"},
	{name: "keep", shape: number, def: "all", doc: "how many of these are kept; older ones are removed, unless they are in use. One that a person asked for is not counted, and never removed"},
}}

var timeObject = &object{name: "time", doc: "Where the event time is.", keys: []key{
	{name: "field", shape: text, required: true, doc: "the field that holds it"},
	{name: "unit", shape: enum("ms", "s", "us", "ns", "rfc3339"), def: "`ms`", doc: "what the field counts since 1970"},
	{name: "out-of-order", shape: duration, def: "`0s`", doc: "how much older than the newest a record may be"},
	{name: "idle", shape: duration, def: "`30s`", doc: "when a silent partition no longer holds the others back"},
	{name: "advance-when-idle", shape: duration, later: true},
}}

var inputKeyObject = &object{name: "input key", keys: []key{
	{name: "field", shape: text, required: true, doc: "the field"},
	{name: "format", shape: text, later: true},
	{name: "json", shape: anything, later: true},
}}

var deadLetterObject = &object{name: "on-bad-record", keys: []key{
	{name: "dead-letter", shape: text, required: true, doc: "the topic that gets the record as it came, with headers that say where it was and what was wrong"},
}}

var inputObject = &object{name: "input", doc: "The topic that the job reads.", keys: []key{
	{name: "topic", shape: text, required: true, doc: "its name"},
	{name: "format", shape: enum("json", "string", "bytes"), def: "`json`", doc: "what the values are; `string` and `bytes` have one field, `value`"},
	{name: "fields", shape: fieldSet, doc: "names and types of the fields the job may use; needed for `json`"},
	{name: "names", shape: names, doc: "the name in the data of a field that has another here"},
	{name: "key", shape: anyOf("field, or [input key](#input-key)", map[string]any{"type": "string"}, ref(inputKeyObject)), doc: "the record key is this field's text; checked on every record. Without it records are keyed by their raw key, `meta.key`"},
	{name: "time", shape: mapOf(timeObject), def: "the record's timestamp", doc: "the event time"},
	{name: "start", shape: text, def: "`earliest`", doc: "where the first start begins: `earliest`, `latest`, a time such as `2026-01-31T00:00:00Z`, or how long ago, such as `7d`"},
	{name: "empty", shape: enum("fail", "skip"), def: "`fail`", doc: "what a record without a value is"},
	{name: "on-bad-record", shape: anyOf("`fail`, `skip` or [{dead-letter}](#on-bad-record)", map[string]any{"enum": []string{"fail", "skip"}}, ref(deadLetterObject)), def: "`fail`", doc: "what happens to a record that cannot be read or processed"},
	{name: "partitioner", shape: enum("murmur2", "crc32", "fnv", "any"), def: "`murmur2`", doc: "of the topic's producer; checked. Java's is murmur2, librdkafka's crc32, sarama's fnv; `any` checks nothing"},
	{name: "table", shape: boolean, later: true},
}}

var ruleObject = &object{name: "rule", doc: "The first rule whose `when` is true is applied; if there is none nothing happens.", keys: []key{
	{name: "when", shape: exprText, def: "always", doc: "the condition"},
	{name: "set", shape: exprs, doc: "new values of the state; all see the old state, fields not named keep theirs"},
	{name: "clear", shape: boolean, doc: "forget the state of this key"},
	{name: "emit", shape: anyOf("map of expressions, or a list of them", map[string]any{"type": "object"}, map[string]any{"type": "array"}, map[string]any{"const": "record"}), doc: "a record, or several, for the next step; sees the state after `set`. `record` is the record as it came"},
	{name: "reject", shape: exprText, doc: "make this a bad record, with this text as the reason"},
	{name: "to", shape: text, later: true},
	{name: "timer", shape: anything, later: true},
	{name: "on-timer", shape: text, later: true},
}}

var stepObject = &object{name: "step", doc: "Exactly one of `filter`, `map`, `set`, `drop`, `flatmap`, `log`, `key`, `process`, `reduce`, with what belongs to it.", keys: []key{
	{name: "filter", shape: exprText, doc: "go on with records for which this is true"},
	{name: "map", shape: exprs, doc: "exactly these fields from here on; a name alone means itself"},
	{name: "set", shape: exprs, doc: "add or replace fields; of `reduce`: combine `a`, the state, with `b`, the record"},
	{name: "drop", shape: shape{text: "list of fields", schema: map[string]any{"type": "array", "items": map[string]any{"type": "string"}}}, doc: "remove fields"},
	{name: "flatmap", shape: exprText, doc: "one record per element of a list, none for an empty one"},
	{name: "as", shape: text, doc: "of `flatmap`: the field that holds the element"},
	{name: "index", shape: text, doc: "of `flatmap`: the field that holds the element's index, from 0"},
	{name: "log", shape: exprText, doc: "write a text to the log, at most once a second"},
	{name: "key", shape: anyOf("expression, list or map of them", exprSchema, map[string]any{"type": "array"}, map[string]any{"type": "object"}), doc: "re-partition by this key, through a Kafka topic"},
	{name: "name", shape: name, doc: "of `key`: names the topic"},
	{name: "process", shape: name, doc: "the uid of a step with a state per key, and rules"},
	{name: "state", shape: fieldSet, doc: "of `process`: the fields of the state, and their types"},
	{name: "rules", shape: listOf(ruleObject), doc: "of `process`"},
	{name: "reduce", shape: name, doc: "the uid of a step that combines the records of a key into one"},
	{name: "branch", shape: anything, later: true},
	{name: "fold", shape: anything, later: true},
	{name: "init", shape: anything, later: true},
	{name: "emit", shape: anything, later: true},
	{name: "aggregate", shape: anything, later: true},
	{name: "of", shape: anything, later: true},
	{name: "dedupe", shape: anything, later: true},
	{name: "by", shape: anything, later: true},
	{name: "within", shape: anything, later: true},
	{name: "window", shape: anything, later: true},
	{name: "all", shape: anything, later: true},
	{name: "lateness", shape: anything, later: true},
	{name: "emit-when", shape: anything, later: true},
	{name: "late", shape: anything, later: true},
	{name: "ttl", shape: anything, later: true},
	{name: "join", shape: anything, later: true},
	{name: "enrich", shape: anything, later: true},
	{name: "cogroup", shape: anything, later: true},
	{name: "with", shape: anything, later: true},
	{name: "kind", shape: anything, later: true},
	{name: "select", shape: anything, later: true},
	{name: "renamed-from", shape: anything, later: true},
}}

var outputObject = &object{name: "output", doc: "Where the records go: to a topic or to `stdout`.", keys: []key{
	{name: "topic", shape: text, doc: "the topic"},
	{name: "format", shape: enum("json", "string", "bytes"), def: "`json`", doc: "`string` and `bytes` need exactly one field, `value`"},
	{name: "key", shape: exprText, def: "the current key", doc: "the record key, as text"},
	{name: "names", shape: names, doc: "the name in the data of a field that has another here"},
	{name: "stdout", shape: enum("json", "string"), doc: "a line per record on the standard output, instead of a topic"},
	{name: "headers", shape: anything, later: true},
	{name: "times", shape: anything, later: true},
	{name: "postgres", shape: anything, later: true},
	{name: "http", shape: anything, later: true},
	{name: "file", shape: anything, later: true},
	{name: "delete-when", shape: anything, later: true},
	{name: "on-replay", shape: anything, later: true},
}}

var testObject = &object{name: "test", doc: "`procd test` runs them, without a broker.", keys: []key{
	{name: "name", shape: text, doc: "what it shows"},
	{name: "in", shape: anyOf("list of records, or a file of JSON lines", map[string]any{"type": "array"}, map[string]any{"type": "string"}), required: true, doc: "the records, in this order; `meta.key` and `meta.time` set the key and timestamp of one whose fields do not say them"},
	{name: "out", shape: anyOf("list of records, or map of such lists by topic", map[string]any{"type": "array"}, map[string]any{"type": "object"}), doc: "exactly these records come out; only the fields that are named are compared"},
	{name: "rejected", shape: shape{text: "list of records", schema: map[string]any{"type": "array"}}, doc: "exactly these input records are rejected; `error` is a part of the reason"},
	{name: "state", shape: shape{text: "map: uid, key, fields", schema: map[string]any{"type": "object"}}, doc: "what the states are at the end; only what is named is compared, `null` is no state"},
	{name: "before", shape: anything, later: true},
	{name: "after", shape: anything, later: true},
}}

var jobObject = &object{name: "job file", doc: "The top of the file.", keys: []key{
	{name: "job", shape: name, required: true, doc: "the job's name: it names the group and all topics of the job"},
	{name: "input", shape: mapOf(inputObject), required: true},
	{name: "steps", shape: listOf(stepObject), doc: "what happens to the records, in this order"},
	{name: "output", shape: mapOf(outputObject), required: true},
	{name: "guarantees", shape: mapOf(guaranteesObject)},
	{name: "savepoints", shape: mapOf(savepointsObject), def: "none", doc: "those that the job takes by itself"},
	{name: "tests", shape: listOf(testObject)},
	{name: "inputs", shape: anything, later: true},
	{name: "streams", shape: anything, later: true},
	{name: "migrate", shape: anything, later: true},
}}

// jobObjects are the objects of a job file in the order of the docs.
var jobObjects = []*object{jobObject, inputObject, inputKeyObject, timeObject, deadLetterObject, stepObject, ruleObject, outputObject, guaranteesObject, savepointsObject, testObject}
