package savepoint

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/procd/procd/kstate"
)

func TestSavepointHoldsEverything(t *testing.T) {
	j := newTestJob(t)
	_, s, dir := j.saveToDisk(t)
	m := s.Manifest()
	if err := s.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if got, err := s.Definition(); err != nil || got != testDefinition {
		t.Errorf("definition %q, %v", got, err)
	}
	arm, _ := m.Store("arm")
	if arm.Versions[0].Rows != 10 || arm.Versions[1].Rows != 30 || arm.Entries() != 40 {
		t.Errorf("rows by version (P18): %+v", arm.Versions)
	}
	if got := m.Offsets()["alarm-events"]; !slices.Equal(got, []int64{100, 101}) {
		t.Errorf("offsets %v", got)
	}
	if got := m.Frontiers()["alarm-events"]; !slices.Equal(got, []int64{100, 101}) {
		t.Errorf("frontiers %v", got)
	}
	if p := arm.Parts[1].Position(); p.Changelog != j.arm[1].next || !slices.Equal(p.Sources, j.sources[1]) {
		t.Errorf("position %+v", p)
	}
	if m.Bytes() == 0 || m.Attempt != 1 {
		t.Errorf("%d bytes, attempt %d", m.Bytes(), m.Attempt)
	}
	if _, err := os.Stat(filepath.Join(dir, tokenName)); err == nil {
		t.Error("the token is in the savepoint")
	}
}

// P13: a process that sees another directory must not take part.
func TestP13LocationNotShared(t *testing.T) {
	l, other := NewLocation(newMemFS()), NewLocation(newMemFS())
	if _, err := l.Begin(testID, 1, testToken); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Join(testID, 1, testToken); !errors.Is(err, ErrNotShared) {
		t.Errorf("other disk: %v", err)
	}
	if _, err := l.Join(testID, 1, "other"); !errors.Is(err, ErrNotShared) {
		t.Errorf("other token: %v", err)
	}
	if _, err := l.Join(testID, 2, testToken); !errors.Is(err, ErrNotShared) {
		t.Errorf("other attempt: %v", err)
	}
}

// P14: tables of the pre-copy are copied once, and those that are gone at the
// cut are not in the savepoint.
func TestP14PreCopiedTablesAreReused(t *testing.T) {
	db := newRawStore(t)
	l := NewLocation(newMemFS())
	a, err := l.Begin(testID, 1, testToken)
	must(t, err)
	db.write("a", 1)
	before := db.checkpoint()
	must(t, a.PreCopy(t.Context(), before))
	preCopied := a.BytesCopied()
	if preCopied == 0 {
		t.Fatal("nothing was pre-copied")
	}
	must(t, a.PreCopy(t.Context(), before))
	if a.BytesCopied() != preCopied {
		t.Error("a second pre-copy copied again")
	}
	db.write("b", 2)
	part, err := a.CopyPart(t.Context(), db.checkpoint())
	must(t, err)
	if got, want := a.BytesCopied(), part.Bytes(); got != want || len(partTables(part)) != 2 {
		t.Errorf("copied %d bytes for a part of %d, tables %v", got, want, partTables(part))
	}
	if part.Entries() != 2 || part.Changelog != 2 {
		t.Errorf("%+v", part)
	}
}

// A compaction between pre-copy and cut replaces tables: the old ones go.
func TestP14CompactedTablesAreDropped(t *testing.T) {
	db := newRawStore(t)
	l := NewLocation(newMemFS())
	a, err := l.Begin(testID, 1, testToken)
	must(t, err)
	db.write("a", 1)
	db.write("b", 2)
	must(t, a.PreCopy(t.Context(), db.checkpoint()))
	db.compact()
	part, err := a.CopyPart(t.Context(), db.checkpoint())
	must(t, err)
	if got := partTables(part); len(got) != 1 || part.Entries() != 2 {
		t.Errorf("tables %v, %d rows", got, part.Entries())
	}
	infos, err := l.fs.List(attemptDir(testID, 1) + "/" + partDir("arm", 0))
	must(t, err)
	if len(infos) != len(part.Files) {
		t.Errorf("%d files on disk, %d in the part", len(infos), len(part.Files))
	}
}

// A key that was written again, or deleted, is in several tables, and one row or
// none.
func TestRowsAreCountedOnce(t *testing.T) {
	db := newRawStore(t)
	db.write("a", 1)
	db.write("b", 2)
	db.write("a", 3)
	db.mark("b")
	db.write("c", 4)
	a, err := NewLocation(newMemFS()).Begin(testID, 1, testToken)
	must(t, err)
	part, err := a.CopyPart(t.Context(), db.checkpoint())
	must(t, err)
	if got := partTables(part); len(got) < 2 {
		t.Fatalf("one table: %v", got)
	}
	if !slices.Equal(part.Rows, []VersionRows{{Version: 1, Rows: 2}}) {
		t.Errorf("rows %v", part.Rows)
	}
}

// P16: a deleted marker is neither counted nor a row.
func TestP16MarkersAreNoRows(t *testing.T) {
	db := newRawStore(t)
	db.write("a", 1)
	db.write("b", 2)
	db.mark("c")
	l := NewLocation(newMemFS())
	a, err := l.Begin(testID, 1, testToken)
	must(t, err)
	part, err := a.CopyPart(t.Context(), db.checkpoint())
	must(t, err)
	if part.Entries() != 2 {
		t.Errorf("rows %v", part.Rows)
	}
	n, err := openNative(l.fs, attemptDir(testID, 1)+"/"+partDir("arm", 0), part.Files)
	must(t, err)
	rows := 0
	must(t, n.each(t.Context(), func(Row) bool { rows++; return true }))
	must(t, n.close())
	if rows != 2 {
		t.Errorf("%d rows", rows)
	}
}

// P14: a wiped database uses the same file numbers for other rows.
func TestP14OtherInstanceIsCopiedAfresh(t *testing.T) {
	at := []kstate.SourceOffset{{Topic: "in", Partition: 0, Offset: 1}}
	first, second := newTestStore(t, "arm", 0, sumV1), newTestStore(t, "arm", 0, sumV1)
	first.write(at, row{"a", 1, []byte{2}})
	second.write(at, row{"a", 1, []byte{4}})
	if one, two := tableNames(t, first.last), tableNames(t, second.last); !slices.Equal(one, two) {
		t.Fatalf("the databases must look alike: %v, %v", one, two)
	}
	l := NewLocation(newMemFS())
	a, err := l.Begin(testID, 1, testToken)
	must(t, err)
	must(t, a.PreCopy(t.Context(), first.last))
	part, err := a.CopyPart(t.Context(), second.last)
	must(t, err)
	if part.Instance != second.last.Instance {
		t.Errorf("instance %q", part.Instance)
	}
	want := readFile(t, filepath.Join(second.dir, partTables(part)[0]))
	got, err := readAll(l.fs, attemptDir(testID, 1)+"/"+partDir("arm", 0)+"/"+partTables(part)[0], 1<<20)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the table is that of the other database")
	}
}

// P14: stores of one task at different offsets are no savepoint.
func TestP14StoresDisagree(t *testing.T) {
	j := newTestJob(t)
	j.sum[1].write([]kstate.SourceOffset{{Topic: "alarm-events", Partition: 1, Offset: 102}}, row{"a", 1, []byte{86}})
	l := NewLocation(newMemFS())
	_, err := j.save(t, l, testID)
	if !errors.Is(err, ErrDisagree) || !strings.Contains(err.Error(), "store sum, partition 1") {
		t.Errorf("%v", err)
	}
	wantNone(t, l)
}

// P14: once a later attempt has begun, an earlier one can neither go on nor
// complete.
func TestP14LateCoordinator(t *testing.T) {
	j := newTestJob(t)
	l := NewLocation(newMemFS())
	late, err := l.Begin(testID, 1, testToken)
	must(t, err)
	var parts []Part
	for _, s := range j.stores() {
		p, err := late.CopyPart(t.Context(), s.last)
		must(t, err)
		parts = append(parts, p)
	}
	slow, err := l.Join(testID, 1, testToken)
	must(t, err)
	must(t, j.attempt(t, l, testID, 2))
	if _, err := late.Complete(t.Context(), j.manifest(parts), ""); !errors.Is(err, ErrSuperseded) {
		t.Errorf("late coordinator: %v", err)
	}
	if _, err := slow.CopyPart(t.Context(), j.arm[0].last); !errors.Is(err, ErrSuperseded) {
		t.Errorf("slow process: %v", err)
	}
	must(t, late.Abort())
	s, err := l.Open(testID)
	must(t, err)
	if s.Manifest().Attempt != 2 {
		t.Errorf("attempt %d", s.Manifest().Attempt)
	}
	must(t, s.Verify(t.Context(), nil))
	if left, err := l.Unfinished(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := l.Begin(testID, 3, testToken); !errors.Is(err, ErrExists) {
		t.Errorf("after it is complete: %v", err)
	}
}

// P14: a coordinator that slept while another one began harms nothing when it
// begins after all.
func TestLateBegin(t *testing.T) {
	l := NewLocation(newMemFS())
	_, err := l.Begin(testID, 2, testToken)
	must(t, err)
	if _, err := l.Begin(testID, 1, "late"); !errors.Is(err, ErrSuperseded) {
		t.Errorf("begun: %v", err)
	}
	must(t, l.Discard(testID, 1))
	if _, err := l.Join(testID, 2, testToken); err != nil {
		t.Errorf("the later attempt: %v", err)
	}
	// The same number again is the same coordinator's: it starts empty.
	_, err = l.Begin(testID, 2, "again")
	must(t, err)
	if left, err := l.Unfinished(); err != nil || len(left) != 1 || left[0].Token != "again" {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// The first error is final: nothing is known of what is on disk.
func TestErrorIsFinal(t *testing.T) {
	j := newTestJob(t)
	mem := newMemFS()
	l := NewLocation(mem)
	a, err := l.Begin(testID, 1, testToken)
	must(t, err)
	mem.failAt = mem.ops + 12
	_, first := a.CopyPart(t.Context(), j.arm[0].last)
	if !errors.Is(first, errInjected) {
		t.Fatal(first)
	}
	if _, err := a.CopyPart(t.Context(), j.arm[1].last); !errors.Is(err, errInjected) {
		t.Errorf("next copy: %v", err)
	}
	if _, err := a.Complete(t.Context(), &Manifest{ID: testID}, ""); !errors.Is(err, errInjected) {
		t.Errorf("complete: %v", err)
	}
	must(t, a.Abort())
	wantNone(t, l)
}

func TestCopyRefuses(t *testing.T) {
	j := newTestJob(t)
	for name, change := range map[string]func(*Checkpoint){
		"uid":       func(c *Checkpoint) { c.UID = "../arm" },
		"partition": func(c *Checkpoint) { c.Partition = -1 },
		"instance":  func(c *Checkpoint) { c.Instance = "" },
		"file name": func(c *Checkpoint) { c.Files = strange(t, "Upper") },
		"link":      func(c *Checkpoint) { c.Files = strange(t, "link") },
	} {
		t.Run(name, func(t *testing.T) {
			a, err := NewLocation(newMemFS()).Begin(testID, 1, testToken)
			must(t, err)
			c := j.arm[0].last
			change(&c)
			if _, err := a.CopyPart(t.Context(), c); !errors.Is(err, ErrName) && !errors.Is(err, ErrNotRegular) {
				t.Errorf("%v", err)
			}
		})
	}
}

// strange is a directory with one bad entry.
func strange(t *testing.T, name string) *Dir {
	dir := t.TempDir()
	if name == "link" {
		must(t, os.Symlink("/etc/hostname", filepath.Join(dir, name)))
	} else {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	return openDir(t, dir)
}

func TestCopyIsCancelled(t *testing.T) {
	j := newTestJob(t)
	a, err := NewLocation(newMemFS()).Begin(testID, 1, testToken)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.CopyPart(ctx, j.arm[0].last); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Files that belong to no part, and parts that are missing, fail the attempt.
func TestCompleteChecksFiles(t *testing.T) {
	j := newTestJob(t)
	for name, change := range map[string]func(l *Location, m *Manifest){
		"extra": func(l *Location, _ *Manifest) {
			f, err := l.fs.Create(attemptDir(testID, 1) + "/" + partDir("arm", 0) + "/left-over")
			must(t, errors.Join(err, f.Close()))
		},
		"missing": func(l *Location, m *Manifest) {
			must(t, l.fs.Remove(attemptDir(testID, 1)+"/"+partDir("arm", 0)+"/"+m.Stores[0].Parts[0].Files[0].Name))
		},
		"size": func(_ *Location, m *Manifest) { m.Stores[0].Parts[0].Files[0].Size++ },
		"part": func(_ *Location, m *Manifest) { m.Stores[0].Parts = m.Stores[0].Parts[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLocation(newMemFS())
			a, err := l.Begin(testID, 1, testToken)
			must(t, err)
			var parts []Part
			for _, s := range j.stores() {
				p, err := a.CopyPart(t.Context(), s.last)
				must(t, err)
				parts = append(parts, p)
			}
			m := j.manifest(parts)
			change(l, m)
			if _, err := a.Complete(t.Context(), m, ""); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrInvalid) {
				t.Errorf("%v", err)
			}
			must(t, a.Abort())
			wantNone(t, l)
		})
	}
}

// wantNone checks that a location is empty.
func wantNone(t *testing.T, l *Location) {
	t.Helper()
	infos, err := l.fs.List(".")
	must(t, err)
	for _, info := range infos {
		t.Errorf("left in the location: %s", info.Name())
	}
}

func tableNames(t *testing.T, c Checkpoint) (names []string) {
	t.Helper()
	infos, err := c.Files.List(".")
	must(t, err)
	for _, info := range infos {
		if isTable(info.Name()) {
			names = append(names, info.Name())
		}
	}
	return names
}

func partTables(p Part) (names []string) {
	for _, f := range p.Files {
		if isTable(f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}
