package savepoint

import (
	"errors"
	"io/fs"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// What a task delivers is found by its checksum, and by nothing else; it is not
// part of the savepoint.
func TestDelivery(t *testing.T) {
	mem := newMemFS()
	l := NewLocation(mem)
	coordinator, err := l.Begin(testID, 1, testToken)
	must(t, err)
	process, err := l.Join(testID, 1, testToken)
	must(t, err)
	want := Delivery{
		Task:  Task{Stage: "by:room", Partition: 3, Sources: []kstate.SourceOffset{{Topic: "t", Partition: 3, Offset: 7}}, Frontiers: topology.Frontiers{{Topic: "e", Partition: 9, Offset: 4}}},
		Parts: []Part{{UID: "arm", Partition: 3, Instance: "i", Changelog: 4, Rows: []VersionRows{{1, 2}}, Files: []File{{"000004.sst", 12, strings.Repeat("ab", 32)}}}},
	}
	want.Parts[0].Sources = want.Task.Sources
	sha256, err := process.Deliver(want)
	must(t, err)
	got, err := coordinator.Collect(sha256)
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("collected %+v, want %+v", got, want)
	}
	for _, name := range []string{"", "../TOKEN", strings.Repeat("AB", 32)} {
		other, err := l.Join(testID, 1, testToken)
		must(t, err)
		if _, err := other.Collect(name); !errors.Is(err, ErrName) {
			t.Errorf("collected %q: %v", name, err)
		}
	}
	file := path.Join(attemptDir(testID, 1), deliveryPath(sha256))
	must(t, mem.Remove(file))
	f, err := mem.Create(file)
	must(t, err)
	_, err = f.Write([]byte("{}"))
	must(t, errors.Join(err, f.Close()))
	if _, err := process.Collect(sha256); !errors.Is(err, ErrDamaged) {
		t.Errorf("collected what was changed: %v", err)
	}
	// An attempt that was given up does not come back.
	must(t, coordinator.Abort())
	late, err := l.Begin(testID, 2, testToken)
	must(t, err)
	must(t, late.Abort())
	if _, err := late.Deliver(want); !errors.Is(err, ErrSuperseded) {
		t.Errorf("delivered to an attempt that is over: %v", err)
	}
	if _, err := mem.Lstat(attemptDir(testID, 2)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the attempt came back: %v", err)
	}
}
