package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/procd/procd/config/expr"
	"github.com/procd/procd/savepoint"
)

// rowQuery are the rows to print.
type rowQuery struct {
	store string
	where string
	limit int
}

// savepointInspect shows what a savepoint holds.
func (a *app) savepointInspect() *cobra.Command {
	var query rowQuery
	cmd := &cobra.Command{
		Use:   "inspect X",
		Short: "Show what a savepoint holds: stores, schemas, offsets; with --store its rows",
		Long: `Show what a savepoint holds. With --store the rows of that store, one JSON object
each: {"key": 7, "version": 1, "value": {...}}. --where is a CEL condition over
key and value, such as 'value.active && key < 100'.`,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{unbounded: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if query.store == "" && (query.where != "" || query.limit > 0) {
				return usageError("--where and --limit are about rows: name the store with --store")
			}
			return a.withSavepoint(args[0], func(sp *savepoint.Savepoint) error {
				if query.store != "" {
					return a.printRows(cmd.Context(), sp, query)
				}
				return a.printManifest(sp)
			})
		},
	}
	cmd.Flags().StringVar(&query.store, "store", "", "print the rows of this store")
	cmd.Flags().StringVar(&query.where, "where", "", "only rows for which this CEL condition over key and value holds")
	cmd.Flags().IntVar(&query.limit, "limit", 0, "print at most this many rows")
	return cmd
}

func (a *app) printManifest(sp *savepoint.Savepoint) error {
	m := sp.Manifest()
	output := struct {
		FormatVersion int    `json:"format_version"`
		SHA256        string `json:"sha256"`
		*savepoint.Manifest
	}{formatVersion, sp.SHA256(), m}
	return a.print(output, func(w io.Writer) {
		fmt.Fprintf(w, "savepoint %s of %s, %s, taken %s for %s\n", m.ID, m.Job, m.Form, m.CreatedAt.Format(time.RFC3339), m.By)
		fmt.Fprintf(w, "generation %d, revision %d, run %d, attempt %d\n", m.Generation, m.Revision, m.Run, m.Attempt)
		fmt.Fprintf(w, "%s, %s, manifest sha256 %s\n\n", rowsText(rowsOf(m), !m.RowsExact()), byteText(m.Bytes()), sp.SHA256())
		printStores(w, m)
		fmt.Fprintln(w)
		printOffsets(w, m)
	})
}

func printStores(w io.Writer, m *savepoint.Manifest) {
	t := newTable(w)
	t.row("STORE", "STAGE", "KEY", "PARTITIONS", "VERSION", "ROWS", "SCHEMA")
	for _, s := range m.Stores {
		for _, v := range s.Versions {
			current := ""
			if v.Version == s.Current {
				current = " (written)"
			}
			t.row(s.UID, s.Stage, s.KeyType, len(s.Parts), fmt.Sprint(v.Version)+current, v.Rows, v.Schema)
		}
	}
	t.end()
}

func printOffsets(w io.Writer, m *savepoint.Manifest) {
	t := newTable(w)
	t.row("SOURCE", "PARTITION", "OFFSET", "TOPIC ID")
	offsets := m.Offsets()
	for _, source := range m.Sources {
		for p, offset := range offsets[source.Name] {
			t.row(source.Name, p, offset, source.ID)
		}
	}
	t.end()
}

// rowPrinter prints the rows that a query wants.
type rowPrinter struct {
	query   rowQuery
	decode  *savepoint.Decoder
	where   *expr.Condition // nil: all
	w       *bufio.Writer
	line    []byte
	printed int
	failed  int64 // rows that the condition could not be evaluated for
	why     error // the first of them
}

func (a *app) printRows(ctx context.Context, sp *savepoint.Savepoint, query rowQuery) (err error) {
	m := sp.Manifest()
	store, ok := m.Store(query.store)
	if !ok {
		return &failure{code: NotFound, err: fmt.Errorf("savepoint %s has no store %q; it has %s", m.ID, query.store, storeNames(m))}
	}
	p := &rowPrinter{query: query, w: bufio.NewWriter(a.Out)}
	if p.decode, err = sp.Decoder(query.store); err != nil {
		return err
	}
	if query.where != "" {
		if p.where, err = expr.NewCondition(query.where, "key", "value"); err != nil {
			return usageError("--where %q: %w", query.where, err)
		}
	}
	for i := range store.Parts {
		more, err := p.part(ctx, sp, int32(i))
		if err != nil {
			return errors.Join(err, p.w.Flush())
		}
		if !more {
			break
		}
	}
	if p.failed > 0 {
		fmt.Fprintf(a.Err, "procd: --where could not be evaluated for %s, which were left out; the first: %v\n", plural(p.failed, "row"), p.why)
	}
	return p.w.Flush()
}

func storeNames(m *savepoint.Manifest) string {
	names := []string{}
	for _, s := range m.Stores {
		names = append(names, s.UID)
	}
	slices.Sort(names)
	return orDash(strings.Join(names, ", "))
}

// part prints the rows of one partition; more is false when the limit is
// reached.
func (p *rowPrinter) part(ctx context.Context, sp *savepoint.Savepoint, partition int32) (more bool, err error) {
	for row, err := range sp.Rows(ctx, p.query.store, partition) {
		if err != nil {
			return false, err
		}
		if p.line, err = p.decode.AppendJSON(p.line[:0], row); err != nil {
			return false, err
		}
		if !p.wanted(row) {
			continue
		}
		if _, err := p.w.Write(append(p.line, '\n')); err != nil {
			return false, fmt.Errorf("write the rows: %w", err)
		}
		if p.printed++; p.printed == p.query.limit {
			return false, nil
		}
	}
	return true, nil
}

// wanted evaluates the condition over a row that line holds. A row that it does
// not fit is left out and counted.
func (p *rowPrinter) wanted(row savepoint.Row) bool {
	if p.where == nil {
		return true
	}
	holds, err := p.holds(row)
	if err != nil {
		if p.failed == 0 {
			p.why = fmt.Errorf("%s: %w", p.line, err)
		}
		p.failed++
	}
	return err == nil && holds
}

func (p *rowPrinter) holds(row savepoint.Row) (bool, error) {
	value, err := p.decode.Value(row)
	if err != nil {
		return false, err
	}
	key, err := keyOf(p.line)
	if err != nil {
		return false, err
	}
	return p.where.Holds(map[string]any{"key": key, "value": value})
}

// keyOf is the key of a row's JSON, a whole number as int64.
func keyOf(line []byte) (any, error) {
	var row struct {
		Key json.RawMessage `json:"key"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return nil, fmt.Errorf("the row's JSON: %w", err)
	}
	var n int64
	if err := json.Unmarshal(row.Key, &n); err == nil {
		return n, nil
	}
	var key any
	if err := json.Unmarshal(row.Key, &key); err != nil {
		return nil, fmt.Errorf("the row's key: %w", err)
	}
	return key, nil
}
