package seat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Wipe removes the stores of every seat of the job below dataDir and keeps
// the seats and their identities: `procd reset`. A seat that a process sits
// on is [ErrInUse]; seats before it are wiped by then. No directory is fine.
func Wipe(dataDir, job string) error {
	root := filepath.Join(dataDir, job)
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("procd/seat: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), "seat-") {
			continue
		}
		if err := wipe(filepath.Join(root, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func wipe(dir string) error {
	lock, err := tryLock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return err
	}
	if lock == nil {
		return fmt.Errorf("%w: %s; stop it first", ErrInUse, dir)
	}
	defer lock.Close()
	if err := checkFormat(dir); err != nil {
		return err
	}
	return removeGenerations(dir, func(string) bool { return true })
}
