package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/procd/procd/topology"
)

// The manual names every command and flag, and none that does not exist.
func TestManual(t *testing.T) {
	data, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(data)
	root := (&app{}).root()
	flags := map[string]bool{"--help": true}
	commands := map[string]bool{}
	for _, cmd := range append(root.Commands(), root) {
		visit := func(f *pflag.Flag) { flags["--"+f.Name] = true }
		cmd.Flags().VisitAll(visit)
		cmd.PersistentFlags().VisitAll(visit)
		if !cmd.Hidden && cmd != root {
			commands[cmd.Name()] = true
		}
	}
	for name := range commands {
		if !strings.Contains(manual, "| `procd "+name) {
			t.Errorf("no row for %s", name)
		}
	}
	for name := range flags {
		if !strings.Contains(manual, name) {
			t.Errorf("%s is not explained", name)
		}
	}
	for _, m := range regexp.MustCompile("`procd ([a-z-]+)").FindAllStringSubmatch(manual, -1) {
		if !commands[m[1]] {
			t.Errorf("there is no command %s", m[1])
		}
	}
	for _, name := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(manual, -1) {
		if !flags[name] && name != "--build" { // of docker compose
			t.Errorf("there is no flag %s", name)
		}
	}
}

// A Go binary has the commands that the manual marks, and no others.
func TestManualOfGoBinaries(t *testing.T) {
	data, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	marked := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `procd ([a-z-]+)[^|]*\\| Go \\|").FindAllStringSubmatch(string(data), -1) {
		marked[m[1]] = true
	}
	for _, cmd := range (&app{job: topology.New("job")}).root().Commands() {
		if !marked[cmd.Name()] {
			t.Errorf("the manual does not say that Go binaries have %s", cmd.Name())
		}
		delete(marked, cmd.Name())
	}
	for name := range marked {
		t.Errorf("the manual says that Go binaries have %s", name)
	}
}
