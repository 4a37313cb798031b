package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// Messages name commands as the procd program has them, with the job's name:
// `procd stop motion-alarm`. A Go binary has the same commands by its own name,
// and all about the one job in it: `./motion-alarm stop`.

// dialect makes one of the other. Nil is procd's own.
type dialect struct {
	commands *regexp.Regexp
	program  string
}

// dialectOf is how the commands of a Go binary are spoken of.
func dialectOf(commands []*cobra.Command, job string) *dialect {
	var names []string
	for _, cmd := range commands {
		names = append(names, cmd.Name())
	}
	return &dialect{
		commands: regexp.MustCompile(`\bprocd (` + strings.Join(names, "|") + `)( ` + regexp.QuoteMeta(job) + `)?([^\w-]|$)`),
		program:  programName(os.Args[0]),
	}
}

// programName is what a user types to run this program again. What `go run`
// built is gone by then.
func programName(arg string) string {
	if strings.Contains(arg, string(filepath.Separator)+"go-build") {
		return filepath.Base(arg)
	}
	return arg
}

// of translates a message.
func (d *dialect) of(text string) string {
	if d == nil {
		return text
	}
	return d.commands.ReplaceAllString(text, strings.ReplaceAll(d.program, "$", "$$")+" $1$3")
}

// writer translates messages; each must be written at once.
func (d *dialect) writer(w io.Writer) io.Writer {
	if d == nil {
		return w
	}
	return &translator{d, w}
}

type translator struct {
	dialect *dialect
	w       io.Writer
}

func (t *translator) Write(b []byte) (int, error) {
	if _, err := io.WriteString(t.w, t.dialect.of(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
