package savepoint

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// updateGolden writes the golden savepoints of the current format and the
// examples in its document. A format that was released must never be written
// again: only a new format version gets new files, beside the old ones.
var updateGolden = flag.Bool("update-golden", false, "write the golden savepoints of the current format and the document's examples")

const (
	goldenNative   = "testdata/format1/native"
	goldenPortable = "testdata/format1/portable"
	goldenRows     = "testdata/format1/rows.txt"
	formatDocument = "../docs/format/savepoint.md"
)

// Savepoints of format 1 open in every later version, with the same rows.
func TestGoldenFormat1(t *testing.T) {
	if *updateGolden {
		writeGolden(t)
	}
	want := string(readFile(t, goldenRows))
	for _, dir := range []string{goldenNative, goldenPortable} {
		s, err := OpenPath(dir)
		must(t, err)
		must(t, s.Verify(t.Context(), nil))
		if got := goldenText(t, s); got != want {
			t.Errorf("%s: rows\n%s\nwant\n%s", dir, got, want)
		}
		if m := s.Manifest(); m.ID != testID || m.Job != "motion-alarm" || m.Offsets()["alarm-events"][0] != 100 || m.Stores[0].Parts[0].Changelog != 23 {
			t.Errorf("%s: %+v", dir, m)
		}
		if text, err := s.Definition(); err != nil || text != testDefinition {
			t.Errorf("%s: definition %q, %v", dir, text, err)
		}
		must(t, s.Close())
	}
}

func goldenText(t *testing.T, s *Savepoint) string {
	t.Helper()
	lines := append(rowsJSON(t, s, "arm", 0), rowsJSON(t, s, "sum", 0)...)
	return strings.Join(lines, "\n") + "\n"
}

func writeGolden(t *testing.T) {
	t.Helper()
	_, s, dir := newJobOf(t, 1).saveToDisk(t)
	must(t, os.RemoveAll("testdata/format1"))
	must(t, os.MkdirAll(goldenPortable, 0o755))
	must(t, os.CopyFS(goldenNative, os.DirFS(dir)))
	must(t, s.Export(t.Context(), openDir(t, goldenPortable), nil))
	must(t, os.WriteFile(goldenRows, []byte(goldenText(t, s)), 0o644))
}

// The examples of the format's document are the golden savepoints, and it
// describes every field and every rule.
func TestFormatDocument(t *testing.T) {
	doc := readFile(t, formatDocument)
	container := readFile(t, goldenPortable+"/stores/sum/0/v1.avro")
	doc = example(t, doc, "native files", listFiles(t, goldenNative))
	doc = example(t, doc, "portable files", listFiles(t, goldenPortable))
	doc = example(t, doc, "manifest", string(readFile(t, goldenPortable+"/manifest.json")))
	doc = example(t, doc, "container", hex.Dump(container))
	if *updateGolden {
		must(t, os.WriteFile(formatDocument, doc, 0o644))
	}
	for _, v := range []any{Manifest{}, Topic{}, Stage{}, Task{}, Store{}, Version{}, Part{}, VersionRows{}, File{}} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if !bytes.Contains(doc, []byte("| `"+name+"` |")) {
				t.Errorf("%s does not describe %s.%s", formatDocument, typ.Name(), name)
			}
		}
	}
	for _, m := range regexp.MustCompile(`Rule = "([a-z-]+)"`).FindAllSubmatch(readFile(t, "verdict.go"), -1) {
		if !bytes.Contains(doc, []byte("| `"+string(m[1])+"` |")) {
			t.Errorf("%s does not have rule %s", formatDocument, m[1])
		}
	}
}

// example checks, or replaces, the code block after a marker.
func example(t *testing.T, doc []byte, name, want string) []byte {
	t.Helper()
	re := regexp.MustCompile("(?s)(<!-- example: " + name + " -->\n```[a-z]*\n)(.*?)(```\n)")
	m := re.FindSubmatchIndex(doc)
	if m == nil {
		t.Fatalf("%s has no example %q", formatDocument, name)
	}
	if *updateGolden {
		return append(append(append([]byte{}, doc[:m[4]]...), want...), doc[m[5]:]...)
	}
	if got := string(doc[m[4]:m[5]]); got != want {
		t.Errorf("%s: example %q is\n%s\nwant\n%s", formatDocument, name, got, want)
	}
	return doc
}

func listFiles(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	for _, f := range allFiles(t, dir) {
		fmt.Fprintf(&out, "%6d  %s\n", len(readFile(t, filepath.Join(dir, f))), f)
	}
	return out.String()
}
