package kstate

import (
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Finished reports whether a directory holds a store, and not only the beginning
// of one, or nothing.
func Finished(dir string) bool {
	format, err := (&Env{fs: vfs.Default}).readFormat(dir)
	return err == nil && format > 0
}

// Adopts reports whether a start from a base links one of its files from dir,
// where the database of that instance lives on, instead of copying it (P15).
func Adopts(dir, instance string, f BaseFile) bool {
	e := &Env{fs: vfs.Default}
	have, err := e.readInstance(dir)
	if err != nil || have == "" || have != instance || !isTable(f.Name) {
		return false
	}
	info, err := e.fs.Stat(filepath.Join(dir, f.Name))
	return err == nil && info.Size() == f.Size
}
