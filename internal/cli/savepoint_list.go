package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// savepoints lists the savepoints of a directory.
func (a *app) savepoints() *cobra.Command {
	return &cobra.Command{
		Use:   "savepoints",
		Short: "List the savepoints in --savepoint-dir",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withLocation(func(l *savepoint.Location, s settings) error {
				return a.listSavepoints(cmd.Context(), l, s)
			})
		},
	}
}

// listed is one line of the list.
type listed struct {
	ID         string         `json:"id"`
	Job        string         `json:"job,omitempty"`
	CreatedAt  *time.Time     `json:"created_at,omitempty"`
	Generation int            `json:"generation,omitempty"`
	Position   int64          `json:"position"` // records of the sources before the cut
	Rows       int64          `json:"rows"`
	RowsAtMost bool           `json:"rows_at_most,omitempty"` // Rows is an upper bound
	Bytes      int64          `json:"bytes"`
	Form       savepoint.Form `json:"form,omitempty"`
	// Claimed: the job knows it as saved. Nil: nobody could be asked.
	Claimed *bool  `json:"claimed"`
	InUse   string `json:"in_use,omitempty"` // why it cannot be removed
	Problem string `json:"problem,omitempty"`
}

// at is when it was taken; the zero time where nobody can say.
func (l listed) at() time.Time {
	if l.CreatedAt == nil {
		return time.Time{}
	}
	return *l.CreatedAt
}

func (a *app) listSavepoints(ctx context.Context, l *savepoint.Location, s settings) error {
	entries, err := l.List(func(string) bool { return false })
	if err != nil {
		return err
	}
	views, known := map[string]*control.View{}, true
	if len(entries) > 0 {
		if views, known, err = a.views(ctx, s); err != nil {
			return err
		}
	}
	output := struct {
		FormatVersion int      `json:"format_version"`
		Directory     string   `json:"directory"`
		Savepoints    []listed `json:"savepoints"`
	}{formatVersion, s.savepoints, []listed{}}
	for _, e := range entries {
		output.Savepoints = append(output.Savepoints, listEntry(e, views, known))
	}
	slices.SortStableFunc(output.Savepoints, func(a, b listed) int { return a.at().Compare(b.at()) })
	if len(entries) == 0 {
		fmt.Fprintf(a.Err, "procd: there are none in %s; --savepoint-dir says where to look\n", s.savepoints)
	}
	return a.print(output, func(w io.Writer) { printSavepoints(w, output.Savepoints) })
}

// views reads the control topics of all jobs. A directory can be listed without
// a broker; then known is false.
func (a *app) views(ctx context.Context, s settings) (views map[string]*control.View, known bool, err error) {
	p, err := control.Open(ctx, a.controlSettings(s, ""))
	if err == nil {
		defer p.Close()
		views, err = p.Views(ctx)
	}
	if errors.Is(err, cluster.ErrUnreachable) {
		fmt.Fprintln(a.Err, "procd: no broker answers, so nobody knows which of them are claimed or in use")
		return nil, false, nil
	}
	return views, err == nil, err
}

func listEntry(e savepoint.Entry, views map[string]*control.View, known bool) listed {
	l := listed{ID: e.ID}
	m := e.Manifest
	if m == nil {
		l.Problem = e.Err.Error()
		return l
	}
	l.Job, l.CreatedAt, l.Generation, l.Form, l.Bytes = m.Job, &m.CreatedAt, m.Generation, m.Form, m.Bytes()
	l.Rows, l.RowsAtMost, l.Position = rowsOf(m), !m.RowsExact(), positionOf(m)
	if known {
		own, ok := views[m.Job]
		claimed := ok && own.Saved(e.ID)
		l.Claimed = &claimed
		for _, view := range views {
			if use, ok := view.InUse(e.ID); ok {
				l.InUse = use.Reason
			}
		}
	}
	return l
}

func rowsOf(m *savepoint.Manifest) (n int64) {
	for i := range m.Stores {
		n += m.Stores[i].Entries()
	}
	return n
}

// rowsText is a number of rows for people.
func rowsText(n int64, atMost bool) string {
	if atMost {
		return "up to " + plural(n, "row")
	}
	return plural(n, "row")
}

// positionOf is how many records the sources had before the cut, retention
// aside.
func positionOf(m *savepoint.Manifest) (n int64) {
	for _, offsets := range m.Offsets() {
		for _, o := range offsets {
			n += o
		}
	}
	return n
}

func printSavepoints(w io.Writer, all []listed) {
	t := newTable(w)
	t.row("ID", "JOB", "TIME", "GENERATION", "POSITION", "ROWS", "SIZE", "FORM", "IN USE")
	for _, l := range all {
		if l.Problem != "" {
			t.row(l.ID, "-", "-", "-", "-", "-", "-", "-", "-")
			continue
		}
		use := l.InUse
		if use == "" && l.Claimed != nil && !*l.Claimed {
			use = "unclaimed"
		}
		rows := fmt.Sprint(l.Rows)
		if l.RowsAtMost {
			rows = "<=" + rows
		}
		t.row(l.ID, l.Job, l.CreatedAt.Format(time.RFC3339), l.Generation, l.Position, rows, byteText(l.Bytes), l.Form, orDash(use))
	}
	t.end()
	for _, l := range all {
		if l.Problem != "" {
			fmt.Fprintf(w, "%s: %s\n", l.ID, packagePrefix.ReplaceAllString(l.Problem, ""))
		}
	}
}
