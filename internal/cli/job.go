package cli

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/config"
	"github.com/procd/procd/topology"
)

// loaded is a job that a command is about.
type loaded struct {
	plan   *topology.Plan
	commit time.Duration   // 0: the engine's default
	file   *config.JobFile // nil: a job in Go
}

// plannedGo plans the job of a Go binary. Its definition is the executable:
// there is no other way to see that its code was changed (P2).
func plannedGo(job *topology.Job) (*topology.Plan, error) {
	sum, err := executableSum()
	if err != nil {
		return nil, err
	}
	plan, err := job.With(topology.Definition("executable sha256:" + sum)).Plan()
	if err != nil {
		return nil, &failure{code: Usage, err: err}
	}
	return plan, nil
}

// executableSum is the SHA-256 of the running program, in hexadecimal.
func executableSum() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the executable, which is the job's definition: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the executable, which is the job's definition: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the executable, which is the job's definition: %w", err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// fileArgument is how a command's usage shows the job file; a Go binary's
// commands are about the one job in it.
func (a *app) fileArgument() string {
	if a.job != nil {
		return ""
	}
	return " JOB.yaml"
}

func (a *app) fileArgs() cobra.PositionalArgs {
	if a.job != nil {
		return cobra.NoArgs
	}
	return cobra.ExactArgs(1)
}

// plusFile is n arguments and then the job file.
func (a *app) plusFile(n int) cobra.PositionalArgs {
	if a.job == nil {
		n++
	}
	return cobra.ExactArgs(n)
}

// fileOf is the job file on the command line; "" of a Go binary.
func (a *app) fileOf(args []string) string {
	if a.job != nil {
		return ""
	}
	return args[0]
}

// load reads and plans the job that a command is about.
func (a *app) load(args []string) (*loaded, error) {
	if a.job != nil {
		plan, err := plannedGo(a.job)
		return &loaded{plan: plan}, err
	}
	return loadFile(args[0])
}

// loadFile reads and plans a job file.
func loadFile(path string) (*loaded, error) {
	if missingFile(path) {
		return nil, noFile(path)
	}
	file, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	plan, err := file.Job().Plan()
	return &loaded{plan: plan, commit: file.Commit, file: file}, err
}
