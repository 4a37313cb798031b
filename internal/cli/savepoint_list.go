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
	views, known, err := a.viewsOf(ctx, s, entries)
	if err != nil {
		return err
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
	return a.print(output, func(w io.Writer) { printSavepoints(w, output.Savepoints) })
}

// viewsOf reads the control topics of the jobs that savepoints are of. A
// directory can be listed without a broker; then known is false.
func (a *app) viewsOf(ctx context.Context, s settings, entries []savepoint.Entry) (views map[string]*control.View, known bool, err error) {
	views = map[string]*control.View{}
	for _, e := range entries {
		if e.Manifest == nil || views[e.Manifest.Job] != nil {
			continue
		}
		view, err := a.viewOf(ctx, s, e.Manifest.Job)
		if errors.Is(err, cluster.ErrUnreachable) {
			fmt.Fprintln(a.Err, "procd: no broker answers, so nobody knows which of them are claimed or in use")
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		views[e.Manifest.Job] = view
	}
	return views, true, nil
}

// viewOf is what a job's control topic says: nothing if there is no such job.
func (a *app) viewOf(ctx context.Context, s settings, job string) (*control.View, error) {
	p, err := control.Open(ctx, a.controlSettings(s, job))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	view, err := p.View(ctx)
	if errors.Is(err, control.ErrNoJob) {
		return &control.View{}, nil
	}
	return view, err
}

func listEntry(e savepoint.Entry, views map[string]*control.View, known bool) listed {
	l := listed{ID: e.ID}
	m := e.Manifest
	if m == nil {
		l.Problem = e.Err.Error()
		return l
	}
	l.Job, l.CreatedAt, l.Generation, l.Form, l.Bytes = m.Job, &m.CreatedAt, m.Generation, m.Form, m.Bytes()
	l.Rows, l.Position = rowsOf(m), positionOf(m)
	if known {
		claimed := views[m.Job].Saved(e.ID)
		l.Claimed, l.InUse = &claimed, inUse(views[m.Job], e.ID)
	}
	return l
}

func rowsOf(m *savepoint.Manifest) (n int64) {
	for i := range m.Stores {
		n += m.Stores[i].Entries()
	}
	return n
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

// inUse says who needs a savepoint; "" if nobody does. A generation needs the
// one it began with until its state is detached (P16).
func inUse(v *control.View, id string) string {
	c, _ := v.Current()
	switch g := c.Generation; {
	case c.State.State == control.Reset:
		return ""
	case g.Savepoint != nil && g.Savepoint.ID == id:
		return fmt.Sprintf("generation %d of %s began with it", g.Generation, g.Job)
	case c.State.State == control.Stopped && c.State.Savepoint == id:
		return fmt.Sprintf("%s is stopped at it", g.Job)
	}
	return ""
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
		t.row(l.ID, l.Job, l.CreatedAt.Format(time.RFC3339), l.Generation, l.Position, l.Rows, byteText(l.Bytes), l.Form, orDash(use))
	}
	t.end()
	for _, l := range all {
		if l.Problem != "" {
			fmt.Fprintf(w, "%s: %s\n", l.ID, packagePrefix.ReplaceAllString(l.Problem, ""))
		}
	}
}
