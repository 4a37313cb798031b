// Package yamlpos reads a YAML document into a tree that knows where every
// byte of every scalar stands in the file.
//
// The grammar is goccy/go-yaml's; this package is the only one that imports
// it. Its tokens give the structure, not the places: they are off inside
// quoted, folded and block scalars. So the places are computed here, by walking
// the file's bytes beside the parsed tree, and compared with what the parser
// read: where the two disagree a scalar falls back to the place of its start.
//
// The dialect is strict: one document, no tags, anchors, aliases, merge keys
// or keys that are no scalars, and no plain text with a colon and a blank in
// it, which other YAML parsers refuse.
package yamlpos
