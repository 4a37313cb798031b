// Package demo tells the story of `procd demo`: a motion alarm rings too
// eagerly, is changed while it runs, and goes back to an older savepoint.
//
// Everything runs as it would on a cluster: the broker and each procd are
// processes of their own, commands are those that a user types, and what is
// checked at the end is what a reader of the output topic sees. The model that
// it is checked against shares no code with procd.
package demo
