package procd_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	motion "github.com/procd/procd/examples/motion-alarm"
	"github.com/procd/procd/internal/embedded"
)

// TestReadmeCommands runs what the README tells a new user to type, in its
// order, in an empty directory.
func TestReadmeCommands(t *testing.T) {
	dir := t.TempDir()
	broker, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for _, topic := range []string{"alarm-events", "alarms"} {
		if err := broker.CreateTopic(topic, 4); err != nil {
			t.Fatal(err)
		}
	}
	var started *exec.Cmd
	for _, line := range readmeCommands(t) {
		cmd := command(t, dir, broker.Addr(), line)
		if !strings.HasPrefix(line, "./procd start") {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			continue
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started = cmd
		t.Cleanup(func() { cmd.Process.Kill() })
		waitReady(t, dir, broker.Addr())
	}
	if started == nil {
		t.Fatal("the README starts no job")
	}
	if err := started.Wait(); err != nil {
		t.Errorf("start, after stop: %v", err)
	}
}

// TestReadmeExcerpts compares what the README shows of the examples with them.
func TestReadmeExcerpts(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	inGo, err := os.ReadFile("examples/motion-alarm/go/v2/main.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(yaml|go)\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks, want the first job, what version 2 changes in it, and version 2 in Go", len(blocks))
	}
	_, job, _ := strings.Cut(motion.V1, "\njob:")
	job, _, _ = strings.Cut(job, "tests:")
	if first := string(blocks[0][2]); first != "job:"+job {
		t.Errorf("the first job is\n%s\nthe example is\njob:%s", first, job)
	}
	if line := string(blocks[1][2]); !strings.Contains(motion.V2, "\n"+line) || strings.Contains(motion.V1, line) {
		t.Errorf("version 2 changes no line to %q", line)
	}
	if !strings.HasSuffix(string(inGo), string(blocks[2][2])) {
		t.Errorf("version 2 in Go does not end with\n%s", blocks[2][2])
	}
}

// readmeCommands are the lines of the README's code block with the first steps.
func readmeCommands(t *testing.T) (lines []string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "```\ngo build -o procd ./cmd/procd\n")
	if !ok {
		t.Fatal("no code block that begins with building procd")
	}
	block, _, _ = strings.Cut(block, "```")
	for line := range strings.Lines("go build -o procd ./cmd/procd\n" + block) {
		line, _, _ = strings.Cut(line, "#")
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// command is a line of the README as a process. Only building happens where the
// source is.
func command(t *testing.T, dir, brokers, line string) *exec.Cmd {
	words := strings.Fields(line)
	if words[0] == "go" {
		cmd := exec.CommandContext(t.Context(), words[0], append(words[1:3:3], filepath.Join(dir, words[3]), words[4])...)
		return cmd
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, words[0]), words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PROCD_BROKERS="+brokers)
	if words[1] == "dev" {
		cmd.Stdin = strings.NewReader(`{"type":"activate","room":1,"time":0}`)
	}
	return cmd
}

// waitReady waits until every task of the started job runs.
func waitReady(t *testing.T, dir, brokers string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		out, err := command(t, dir, brokers, "./procd status my-job --json").CombinedOutput()
		if err == nil && strings.Count(string(out), `"running"`) >= 4 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not running after 30 s: %v\n%s", err, out)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
