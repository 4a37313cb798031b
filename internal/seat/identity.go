package seat

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Ten base32 characters are 50 random bits: no two seats of a job meet.
const identityLength = 10

var identityPattern = regexp.MustCompile(`^[a-z2-7]{10}$`)

func readIdentity(dir string) (string, error) {
	path := filepath.Join(dir, "identity")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeIdentity(dir)
	}
	if err != nil {
		return "", fmt.Errorf("procd/seat: read identity: %w", err)
	}
	id := strings.TrimSuffix(string(data), "\n")
	if !identityPattern.MatchString(id) {
		// A half-written or edited identity names nobody: a new one costs a
		// rebalance, a wrong one could evict a stranger.
		return writeIdentity(dir)
	}
	return id, nil
}

func writeIdentity(dir string) (string, error) {
	var random [7]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("procd/seat: new identity: %w", err)
	}
	id := strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))[:identityLength]
	if err := writeFile(filepath.Join(dir, "identity"), id+"\n"); err != nil {
		return "", err
	}
	return id, nil
}

// checkFormat refuses a directory that a newer procd wrote, and labels a new
// one.
func checkFormat(dir string) error {
	path := filepath.Join(dir, "FORMAT")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeFile(path, strconv.Itoa(Format)+"\n")
	}
	if err != nil {
		return fmt.Errorf("procd/seat: read format version: %w", err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("procd/seat: %s holds %q, not a version number; restore it or choose another --data", path, data)
	}
	if version > Format {
		return fmt.Errorf("%w: %s says format %d, this procd knows %d; upgrade procd or choose another --data",
			ErrNewerFormat, path, version, Format)
	}
	return nil
}

// writeFile replaces a small file so that a crash leaves the old or the new
// content, never a part.
func writeFile(path, content string) error {
	tmp := path + ".tmp"
	if err := writeSynced(tmp, content); err != nil {
		return fmt.Errorf("%w: %v; choose another with --data", ErrNotWritable, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("%w: %v; choose another with --data", ErrNotWritable, err)
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("procd/seat: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
