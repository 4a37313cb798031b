package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// show adds a command to the story, as a user types it.
func (s *story) show(command, why string) {
	if why != "" {
		why = "   # " + why
	}
	s.say("$ %s%s", command, why)
}

// command runs a command of procd, and shows it with what it prints.
func (s *story) command(ctx context.Context, why string, args ...string) (string, error) {
	s.show("procd "+strings.Join(args, " "), why)
	out, err := s.ask(ctx, args...)
	for line := range strings.Lines(out) {
		fmt.Fprintf(s.Out, "        %s", strings.ReplaceAll(line, s.dir+"/", ""))
	}
	return out, err
}

// ask runs a command of procd.
func (s *story) ask(ctx context.Context, args ...string) (string, error) {
	var out, problem bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Executable, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env(), &out, &problem
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("procd %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

// savepoint takes one, as the command says, and returns its id and where it is.
func (s *story) savepoint(ctx context.Context, command, why string) (id string, at positions, err error) {
	out, err := s.command(ctx, why, command, jobName)
	if err != nil {
		return "", nil, err
	}
	words := strings.Fields(out)
	if len(words) < 2 || words[0] != "SAVED" {
		return "", nil, fmt.Errorf("procd %s said %q", command, out)
	}
	id = words[1]
	if out, err = s.ask(ctx, "savepoint-inspect", id, "--json"); err != nil {
		return "", nil, err
	}
	var manifest struct {
		Tasks []struct {
			Sources []struct {
				Partition int32
				Offset    int64
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &manifest); err != nil {
		return "", nil, fmt.Errorf("read the offsets of savepoint %s: %w", id, err)
	}
	at = positions{}
	for _, task := range manifest.Tasks {
		for _, source := range task.Sources {
			at[source.Partition] = source.Offset
		}
	}
	return id, at, nil
}
