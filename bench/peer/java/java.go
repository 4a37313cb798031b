// Package java builds the peers that are written in Java. Their dependencies
// come from Maven Central on the first use; programs and dependencies are kept
// in the user's cache.
package java

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/procd/procd/internal/kafkatest"
)

//go:embed streams flink
var sources embed.FS

// ErrUnavailable is wrapped by the error of [Build] on a machine without Maven
// or a Java development kit.
var ErrUnavailable = kafkatest.ErrUnavailable

// Build returns the class path of the peer in the given directory, whose
// program is one Java file beside a pom.xml.
func Build(ctx context.Context, dir string) (classPath string, err error) {
	pom, err := sources.ReadFile(dir + "/pom.xml")
	if err != nil {
		return "", err
	}
	files, err := sources.ReadDir(dir)
	if err != nil {
		return "", err
	}
	lib, err := kafkatest.Jars(ctx, "bench-"+dir, pom)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".java") {
			continue
		}
		source, err := sources.ReadFile(dir + "/" + f.Name())
		if err != nil {
			return "", err
		}
		classes, err := compile(ctx, lib, f.Name(), source)
		return classes + string(os.PathListSeparator) + filepath.Join(lib, "*"), err
	}
	return "", fmt.Errorf("no Java file in %s", dir)
}

// compile compiles one file into a folder beside lib that is named by its hash.
func compile(ctx context.Context, lib, name string, source []byte) (classes string, err error) {
	sum := sha256.Sum256(source)
	classes = filepath.Join(filepath.Dir(lib), "classes-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(classes); err == nil || !errors.Is(err, os.ErrNotExist) {
		return classes, err
	}
	if _, err := exec.LookPath("javac"); err != nil {
		return "", fmt.Errorf("%w: missing a Java development kit (javac)", ErrUnavailable)
	}
	part, err := os.MkdirTemp(filepath.Dir(lib), "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	file := filepath.Join(part, name)
	if err := os.WriteFile(file, source, 0o644); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "javac", "-nowarn", "-cp", filepath.Join(lib, "*"), "-d", filepath.Join(part, "classes"), file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compiling %s: %w\n%s", name, err, out)
	}
	return classes, os.Rename(filepath.Join(part, "classes"), classes)
}
