package kafkatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binary is a program built from this module.
type Binary struct{ path string }

// Build compiles a main package of this module, by its import path, into dir.
// With PROCD_IT_RACE set it is built with the race detector.
func Build(ctx context.Context, dir, pkg string) (*Binary, error) {
	path := filepath.Join(dir, filepath.Base(pkg))
	args := []string{"build", "-o", path}
	if os.Getenv("PROCD_IT_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("procd/kafkatest: building %s: %w\n%s", pkg, err, out)
	}
	return &Binary{path: path}, nil
}

// Existing is a program that was built elsewhere.
func Existing(path string) *Binary { return &Binary{path: path} }

// Path is the file that was built.
func (b *Binary) Path() string { return b.path }

// Start runs the program in dir with args and, beside this process's own,
// the environment variables env.
func (b *Binary) Start(dir string, env []string, args ...string) (*Process, error) {
	cmd := exec.Command(b.path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	return startProcess(cmd)
}

// Run runs the program to its end and returns what it printed and its exit
// code. When ctx ends first it is killed.
func (b *Binary) Run(ctx context.Context, dir string, env []string, args ...string) (p *Process, code int, err error) {
	if p, err = b.Start(dir, env, args...); err != nil {
		return nil, 0, err
	}
	if code, err = p.Wait(ctx); err != nil {
		p.Kill()
		err = fmt.Errorf("%w\nstdout: %s\nstderr: %s", err, p.Stdout.Tail(10), p.Stderr.Tail(20))
	}
	return p, code, err
}
