// Package demo tells the story of `procd demo`: the motion alarm on an embedded
// broker, with two processes, one of which is killed.
//
// Everything runs as it would on a cluster: the broker and each procd are
// processes of their own, and what is checked at the end is what a reader of
// the output topic sees. The model that it is checked against shares no code
// with procd.
package demo
