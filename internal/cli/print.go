package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// formatVersion of the JSON that commands print. A field that is added leaves
// it alone; one that goes or changes its meaning raises it.
const formatVersion = 1

// print writes a command's result: as JSON if asked to, else as text does, in
// which commands may be named.
func (a *app) print(result any, text func(w io.Writer)) error {
	return a.printData(result, func(w io.Writer) { text(a.speak.writer(w)) })
}

// printData prints a result that is the user's own data.
func (a *app) printData(result any, text func(w io.Writer)) error {
	if !a.flags.json {
		text(a.Out)
		return nil
	}
	e := json.NewEncoder(a.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(result); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// table writes rows in columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(t.w, "\t")
		}
		fmt.Fprint(t.w, c)
	}
	io.WriteString(t.w, "\n")
}

func (t table) end() { t.w.Flush() }

// waiting says on stderr, every few seconds, what a command waits for, until
// the returned function is called.
func (a *app) waiting(what string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	ticker := time.NewTicker(progressEvery)
	go func() {
		defer close(ended)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(a.Err, "procd: %s (%s)\n", what, time.Since(began).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// plural is "1 task", "2 tasks".
func plural[N int | int32 | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if last := len(what) - 1; what[last] == 's' {
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
