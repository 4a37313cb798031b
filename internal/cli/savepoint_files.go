package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/savepoint"
)

// savepointVerify reads every byte of a savepoint.
func (a *app) savepointVerify() *cobra.Command {
	return &cobra.Command{
		Use:         "verify X",
		Short:       "Compare every byte of a savepoint with its checksum",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{unbounded: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSavepoint(args[0], func(sp *savepoint.Savepoint) error {
				return a.verify(cmd.Context(), sp)
			})
		},
	}
}

func (a *app) verify(ctx context.Context, sp *savepoint.Savepoint) error {
	m := sp.Manifest()
	show := a.newProgress("verifying " + m.ID)
	show.set("", 0, m.Bytes())
	err := sp.Verify(ctx, show.add)
	show.end()
	if err != nil {
		return err
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		ID            string `json:"id"`
		Bytes         int64  `json:"bytes"`
		SHA256        string `json:"sha256"`
		Intact        bool   `json:"intact"`
	}{formatVersion, m.ID, m.Bytes(), sp.SHA256(), true}
	return a.print(output, func(w io.Writer) {
		fmt.Fprintf(w, "savepoint %s is intact: %s\n", m.ID, byteText(output.Bytes))
	})
}

// savepointExport writes a savepoint as Avro files.
func (a *app) savepointExport() *cobra.Command {
	return &cobra.Command{
		Use:         "export X DIR",
		Short:       "Write a savepoint in portable form, Avro object container files, into a new or empty directory",
		Args:        cobra.ExactArgs(2),
		Annotations: map[string]string{unbounded: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSavepoint(args[0], func(sp *savepoint.Savepoint) error {
				return a.export(cmd.Context(), sp, args[1])
			})
		},
	}
}

func (a *app) export(ctx context.Context, sp *savepoint.Savepoint, path string) error {
	made, err := makeDir(path)
	if err != nil {
		return err
	}
	dst, err := savepoint.OpenDir(path)
	if err == nil {
		show := a.newProgress("exporting " + sp.Manifest().ID)
		err = errors.Join(sp.Export(ctx, dst, show.add), dst.Close())
		show.end()
	}
	if err != nil {
		if made {
			err = errors.Join(err, os.Remove(path)) // nothing is left of what failed
		}
		return err
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		ID            string `json:"id"`
		Directory     string `json:"directory"`
		Rows          int64  `json:"rows"`
	}{formatVersion, sp.Manifest().ID, path, rowsOf(sp.Manifest())}
	return a.print(output, func(w io.Writer) {
		fmt.Fprintf(w, "exported %s to %s: a directory of it for each store and partition\n", output.ID, filepath.Join(path, "stores"))
	})
}

// makeDir makes a directory, unless it is there.
func makeDir(path string) (made bool, err error) {
	err = os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("make the directory to export to: %w", err)
	}
	return true, nil
}

// savepointRemove removes a savepoint that nobody needs.
func (a *app) savepointRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "rm X",
		Short: "Remove a savepoint that no generation needs",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !savepoint.IsID(args[0]) {
				return usageError("%q is no id of a savepoint; procd savepoints shows them, and a copy elsewhere is yours to remove", args[0])
			}
			return a.withLocation(func(l *savepoint.Location, s settings) error {
				return a.remove(cmd.Context(), l, s, args[0])
			})
		},
	}
}

// remove removes a savepoint that no job of the brokers needs.
func (a *app) remove(ctx context.Context, l *savepoint.Location, s settings, id string) error {
	p, err := control.Open(ctx, a.controlSettings(s, ""))
	if err != nil {
		return err
	}
	defer p.Close()
	err = l.Remove(id, func(*savepoint.Manifest) error { return p.Release(ctx, id) })
	if err != nil {
		return nearSavepoint(l, id, err)
	}
	output := struct {
		FormatVersion int    `json:"format_version"`
		ID            string `json:"id"`
		Removed       bool   `json:"removed"`
	}{formatVersion, id, true}
	return a.print(output, func(w io.Writer) { fmt.Fprintln(w, "removed", id) })
}
