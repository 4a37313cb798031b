package kstate

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// instanceFile holds the random id of the database in a directory. File numbers
// mean something only together with it: a wiped database uses them again (P14).
// It is outside of Pebble, so that a copy of the database is another instance,
// and so that it can be read without opening the database.
const instanceFile = "procd-store-instance"

// Instance is the random id that was made with the directory.
func (db *DB) Instance() string { return db.instance }

// ensureInstance reads the id of a directory, or gives it one where an older
// procd, or a crash, left none.
func (e *Env) ensureInstance(fs vfs.FS, dir string) (string, error) {
	id, err := e.readInstance(dir)
	if id != "" || err != nil {
		return id, err
	}
	id = rand.Text()
	return id, writeSmall(fs, dir, instanceFile, id+"\n")
}

// readInstance returns the id of a directory, or "" if it has none.
func (e *Env) readInstance(dir string) (string, error) {
	text, err := e.readSmall(dir, instanceFile)
	id, complete := strings.CutSuffix(text, "\n")
	if err != nil || !complete {
		return "", err
	}
	return id, nil
}

// writeSmall writes a file beside Pebble's, as durably as the file system syncs.
func writeSmall(fs vfs.FS, dir, name, content string) error {
	f, err := fs.Create(fs.PathJoin(dir, name), "procd-store")
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// smallBytes bounds what is read of a file beside Pebble's (D3).
const smallBytes = 64

// readSmall reads a file beside Pebble's; "" if it is not there.
func (e *Env) readSmall(dir, name string) (string, error) {
	f, err := e.fs.Open(e.fs.PathJoin(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, smallBytes))
	return string(b), errors.Join(err, f.Close())
}
