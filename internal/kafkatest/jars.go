package kafkatest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed pom.xml
var pom []byte

// requireTools names the programs that a broker needs and this machine lacks.
func requireTools(tools ...string) error {
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, toolNames[tool])
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: missing %s", ErrUnavailable, strings.Join(missing, " and "))
	}
	return nil
}

var toolNames = map[string]string{"java": "Java 17 or newer (java)", "mvn": "Maven (mvn)"}

// jars returns a folder with the broker's class path.
func jars(ctx context.Context) (string, error) { return Jars(ctx, "kafka", pom) }

// Jars returns a folder with the dependencies of a Maven project, fetched from
// Maven Central on the first call on this machine and kept in the user's cache.
// Without Java or Maven the error is [ErrUnavailable].
func Jars(ctx context.Context, name string, pom []byte) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("procd/kafkatest: no folder to keep the jars of %s in: %w", name, err)
	}
	sum := sha256.Sum256(pom)
	root := filepath.Join(cache, "procd", name+"-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	lib := filepath.Join(root, "lib")
	unlock, err := lockFile(filepath.Join(root, "LOCK"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := requireTools("java", "mvn"); err != nil {
		return "", err
	}
	return lib, fetchJars(ctx, root, lib, pom)
}

// fetchJars downloads into a folder beside lib and renames it, so that a
// broken download is never taken for a class path.
func fetchJars(ctx context.Context, root, lib string, pom []byte) error {
	file := filepath.Join(root, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return err
	}
	part := lib + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", file,
		"dependency:copy-dependencies", "-DoutputDirectory="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("procd/kafkatest: fetching jars with mvn: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return os.Rename(part, lib)
}

// lockFile waits for an exclusive lock: test binaries of several packages
// start at once, and one of them has to do the download.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("procd/kafkatest: locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
