// Package cli is the command line of procd, and of every binary whose main
// ends with procd.Main: docs/commands.md is its manual.
//
// A command's manners, the same for all:
//
//   - Results go to stdout, everything else to stderr. --json makes the result
//     one JSON document.
//   - An error is one line on stderr: "procd: what, where; what to do".
//   - The exit code says what a script has to know; see [Done] and the others.
//   - The first signal ends the command in order, the second one at once.
package cli
