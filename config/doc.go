// Package config reads the YAML job file and the settings file.
//
// [Load] and [Parse] check a job file as a whole: every mistake is reported,
// with its place in the file, the text it is about and what to do. What they
// return is a job of package topology, with expressions compiled to closures
// over typed slots: nothing of the YAML is left at run time.
//
// What may stand in a job file is one table, in keys.go. The parser, the JSON
// Schema ([Schema]) and the table of keys in docs/job-file.md come from it.
// Keys of the language that procd does not have yet are in it too, and refused
// as such.
//
// The parts: yamlpos is YAML with places, row is records and their bytes, expr
// is expressions. Here, parsing and checking go hand in hand (input.go,
// steps.go, process.go, output.go), each step adding to a flow (flow.go) whose
// functions topology calls.
package config
