package savepoint

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Every operation of taking a savepoint fails once, before or after it took
// effect. Either there is a complete savepoint and nobody was told of an error,
// or there is none and nothing is left.
func TestEveryOperationFails(t *testing.T) {
	j := newJobOf(t, 1)
	clean := newMemFS()
	must(t, j.attempt(t, NewLocation(clean), testID, 1))
	if clean.ops < 120 {
		t.Fatalf("only %d operations", clean.ops)
	}
	for _, after := range []bool{false, true} {
		for op := 1; op <= clean.ops; op += stride(op, clean.ops) {
			t.Run(fmt.Sprintf("after=%v/%d", after, op), func(t *testing.T) {
				mem := newMemFS()
				mem.failAt, mem.after = op, after
				l := NewLocation(mem)
				failed := j.attempt(t, l, testID, 1)
				checkOutcome(t, l, failed)
				if failed == nil {
					return
				}
				if err := j.attempt(t, l, testID, 2); err != nil && !errors.Is(err, ErrExists) {
					t.Fatalf("the next attempt: %v", err)
				}
				wantSavepoint(t, l)
			})
		}
	}
}

// stride leaves out some of the many operations in the middle, which all copy
// files.
func stride(op, ops int) int {
	if op < 30 || op > ops-40 {
		return 1
	}
	return 5
}

// checkOutcome holds what is on disk against what the caller was told.
func checkOutcome(t *testing.T, l *Location, failed error) {
	t.Helper()
	s, err := l.Open(testID)
	switch {
	case failed == nil && err != nil:
		t.Fatalf("completed without an error, but: %v", err)
	case failed != nil && !errors.Is(failed, errInjected):
		t.Fatalf("the error does not say why: %v", failed)
	case err == nil:
		if err := s.Verify(t.Context(), nil); err != nil {
			t.Fatalf("a savepoint that is not complete: %v", err)
		}
	case !errors.Is(err, ErrNotFound):
		t.Fatalf("neither a savepoint nor none: %v", err)
	}
}

func wantSavepoint(t *testing.T, l *Location) {
	t.Helper()
	s, err := l.Open(testID)
	must(t, err)
	must(t, s.Verify(t.Context(), nil))
}

// The machine loses power after any operation: what is on disk then, with any
// part of what was not synced, is a complete savepoint or none; and once the
// coordinator was told that it is complete, it is there.
func TestPowerLoss(t *testing.T) {
	j := newJobOf(t, 1)
	mem := newMemFS()
	var clones []*vfs.MemFS
	var ops []string
	rng := rand.New(rand.NewPCG(1, 1))
	mem.onOp = func(op string) {
		if !strings.HasPrefix(op, "read") && !strings.HasPrefix(op, "lstat") {
			for _, percent := range []int{0, 50} {
				clones = append(clones, mem.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
				ops = append(ops, op)
			}
		}
	}
	if _, err := j.save(t, NewLocation(mem), testID); err != nil {
		t.Fatal(err)
	}
	last := mem.mem.CrashClone(vfs.CrashCloneCfg{})
	complete := 0
	for i, c := range append(clones, last) {
		l := NewLocation(&memFS{mem: c})
		s, err := l.Open(testID)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		complete++
		if err == nil {
			err = s.Verify(t.Context(), nil)
		}
		if err != nil {
			t.Fatalf("after %s: %v", ops[min(i, len(ops)-1)], err)
		}
	}
	if complete < 3 || complete > len(clones)/2 {
		t.Errorf("%d of %d crashes left a savepoint", complete, len(clones))
	}
	wantSavepoint(t, NewLocation(&memFS{mem: last}))
}

// Removing fails anywhere: what is left is the whole savepoint or none.
func TestRemoveFails(t *testing.T) {
	j := newJobOf(t, 1)
	anyway := func(*Manifest) error { return nil }
	for op := 1; ; op++ {
		mem := newMemFS()
		l := NewLocation(mem)
		must(t, j.attempt(t, l, testID, 1))
		mem.failAt = mem.ops + op
		err := l.Remove(testID, anyway)
		last := mem.ops < mem.failAt // there was no such operation any more
		mem.failAt = 0
		if err != nil {
			checkOutcome(t, l, err)
			must(t, l.Discard(testID, 1))
		}
		if _, err := l.Open(testID); errors.Is(err, ErrNotFound) {
			wantNone(t, l)
		}
		if last {
			return
		}
	}
}
