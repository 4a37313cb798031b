package savepoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro/ocf"
)

// rowsJSON are the rows of a part as JSON, sorted.
func rowsJSON(t *testing.T, s *Savepoint, uid string, partition int32) (lines []string) {
	t.Helper()
	d, err := s.Decoder(uid)
	must(t, err)
	for r, err := range s.Rows(t.Context(), uid, partition) {
		must(t, err)
		line, err := d.AppendJSON(nil, r)
		must(t, err)
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	return lines
}

func TestRows(t *testing.T) {
	_, s, _ := newTestJob(t).saveToDisk(t)
	lines := rowsJSON(t, s, "arm", 1)
	if len(lines) != 20 || lines[0] != `{"key":100,"version":1,"value":{"active":true,"since":0}}` ||
		lines[19] != `{"key":119,"version":2,"value":{"active":false,"since":19,"who":"bob"}}` {
		t.Errorf("%d rows, %s ... %s", len(lines), lines[0], lines[len(lines)-1])
	}
	if got := rowsJSON(t, s, "sum", 0); !slices.Equal(got, []string{`{"key":"a","version":1,"value":42}`}) {
		t.Errorf("%v", got)
	}
	var keys []string
	for r, err := range s.Rows(t.Context(), "arm", 0) {
		must(t, err)
		if keys = append(keys, string(r.Key)); len(keys) == 3 {
			break
		}
	}
	if !slices.Equal(keys, []string{"0", "1", "10"}) {
		t.Errorf("keys %v", keys)
	}
	for _, err := range s.Rows(t.Context(), "arm", 2) {
		if !errors.Is(err, ErrNoStore) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.Decoder("nope"); !errors.Is(err, ErrNoStore) {
		t.Errorf("%v", err)
	}
}

func TestKeyJSON(t *testing.T) {
	for _, c := range []struct{ keyType, key, want string }{
		{"int", "-12", `-12`},
		{"int", "18446744073709551615", `18446744073709551615`},
		{"int", "007", `{"base64":"MDA3"}`},
		{"int", "x", `{"base64":"eA=="}`},
		{"string", "a\"b", `"a\"b"`},
		{"string", "\xff", `{"base64":"/w=="}`},
		{"bool", "true", `true`},
		{"bool", "yes", `{"base64":"eWVz"}`},
		{"bytes", "ab", `{"base64":"YWI="}`},
		{"composite", "\x00\x00\x00\x01a\x00\x00\x00\x02bc", `["a","bc"]`},
		{"composite", "\x00\x00\x00\x05a", `{"base64":"AAAABWE="}`},
		{"composite", "\x00\x00", `{"base64":"AAA="}`},
	} {
		if got := KeyJSON(c.keyType, []byte(c.key)); string(got) != c.want {
			t.Errorf("%s %q: %s, want %s", c.keyType, c.key, got, c.want)
		}
	}
}

// What KeyJSON writes ParseKey reads, and what people write instead.
func TestParseKey(t *testing.T) {
	for _, c := range []struct{ keyType, text, want string }{
		{"int", "-12", "-12"},
		{"int", "18446744073709551615", "18446744073709551615"},
		{"int", `{"base64":"MDA3"}`, "007"},
		{"string", `a"b`, `a"b`},
		{"string", "7", "7"},
		{"string", "", ""},
		{"string", `{"base64":7}`, `{"base64":7}`},
		{"string", `{"base64":"YQ==","b":1}`, `{"base64":"YQ==","b":1}`},
		{"string", `{}`, `{}`},
		{"bool", "true", "true"},
		{"bytes", "ab", "ab"},
		{"bytes", `{"base64":"/wA="}`, "\xff\x00"},
		{"composite", `["a","bc"]`, "\x00\x00\x00\x01a\x00\x00\x00\x02bc"},
		{"composite", `{"base64":"AAA="}`, "\x00\x00"},
	} {
		key, err := ParseKey(c.keyType, c.text)
		if err != nil || string(key) != c.want {
			t.Errorf("%s %s: %q, %v; want %q", c.keyType, c.text, key, err, c.want)
			continue
		}
		if again, err := ParseKey(c.keyType, string(KeyJSON(c.keyType, key))); c.keyType != "string" && (err != nil || string(again) != c.want) {
			t.Errorf("%s %s: written and read again %q, %v", c.keyType, c.text, again, err)
		}
	}
	for _, c := range []struct{ keyType, text string }{
		{"int", "x"}, {"int", "007"}, {"int", "1.0"}, {"int", ""}, {"int", "18446744073709551616"},
		{"bool", "yes"}, {"composite", "a"}, {"composite", "null"}, {"composite", `["a",7]`}, {"composite", `{"a":"b"}`},
	} {
		if key, err := ParseKey(c.keyType, c.text); !errors.Is(err, ErrKey) {
			t.Errorf("%s %s: %q, %v", c.keyType, c.text, key, err)
		}
	}
}

// exported is a portable savepoint of the test job.
func exported(t *testing.T, s *Savepoint) (*Savepoint, string) {
	t.Helper()
	dir := t.TempDir()
	must(t, s.Export(t.Context(), openDir(t, dir), nil))
	p, err := OpenPath(dir)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p, dir
}

// A portable savepoint has the same rows, bit for bit, and exports to itself.
func TestExport(t *testing.T) {
	_, s, _ := newTestJob(t).saveToDisk(t)
	p, dir := exported(t, s)
	must(t, p.Verify(t.Context(), nil))
	if m := p.Manifest(); m.Form != Portable || m.ID != testID || m.Stores[0].Versions[0].Rows != 10 {
		t.Errorf("%+v", m)
	}
	for _, uid := range []string{"arm", "sum"} {
		for part := range int32(2) {
			if got, want := rawRows(t, p, uid, part), rawRows(t, s, uid, part); !slices.Equal(got, want) {
				t.Errorf("%s/%d: %v, want %v", uid, part, got, want)
			}
		}
	}
	if text, err := p.Definition(); err != nil || text != testDefinition {
		t.Errorf("%q, %v", text, err)
	}
	_, again := exported(t, p)
	for _, f := range allFiles(t, dir) {
		if !bytes.Equal(readFile(t, filepath.Join(dir, f)), readFile(t, filepath.Join(again, f))) {
			t.Errorf("%s differs in the second export", f)
		}
	}
	if err := s.Export(t.Context(), openDir(t, dir), nil); !errors.Is(err, ErrExists) {
		t.Errorf("into a directory that is not empty: %v", err)
	}
}

func rawRows(t *testing.T, s *Savepoint, uid string, partition int32) (rows []string) {
	t.Helper()
	for r, err := range s.Rows(t.Context(), uid, partition) {
		must(t, err)
		rows = append(rows, string(r.Key)+"|"+string(rune(r.Version))+"|"+string(r.Data))
	}
	slices.Sort(rows)
	return rows
}

// Other Avro libraries read what was written.
func TestContainersAreAvro(t *testing.T) {
	_, s, _ := newTestJob(t).saveToDisk(t)
	_, dir := exported(t, s)
	name := filepath.Join(dir, "stores/arm/1/v2.avro")
	f, err := os.Open(name)
	must(t, err)
	defer func() { _ = f.Close() }()
	r, err := goavro.NewOCFReader(f)
	must(t, err)
	n := 0
	for r.Scan() {
		datum, err := r.Read()
		must(t, err)
		row := datum.(map[string]any)
		value := row["value"].(map[string]any)
		who := value["who"].(map[string]any)["string"]
		if !strings.HasPrefix(string(row["key"].([]byte)), "1") || value["active"] != false || who != "bob" {
			t.Errorf("goavro: %v", row)
		}
		n++
	}
	must(t, r.Err())
	if n != 15 {
		t.Errorf("goavro: %d rows", n)
	}
	o, err := ocf.NewReader(bytes.NewReader(readFile(t, name)))
	must(t, err)
	for n = 0; ; n++ {
		var row struct {
			Key   []byte `avro:"key"`
			Value struct {
				Active bool    `avro:"active"`
				Since  int64   `avro:"since"`
				Who    *string `avro:"who"`
			} `avro:"value"`
		}
		if err := o.Decode(&row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if *row.Value.Who != "bob" {
			t.Errorf("twmb/avro: %+v", row)
		}
	}
	if n != 15 {
		t.Errorf("twmb/avro: %d rows", n)
	}
}

// A block is written when it is full; one larger row has a block of its own.
func TestBlocks(t *testing.T) {
	var file bytes.Buffer
	w, err := newContainer(&file, `"string"`, [16]byte{1})
	must(t, err)
	text := func(n int) []byte {
		return append(binary.AppendVarint(nil, int64(n)), bytes.Repeat([]byte{'x'}, n)...)
	}
	sizes := []int{40_000, 40_000, 1 << 20, 1, 2}
	for _, n := range sizes {
		must(t, w.add(Row{Key: []byte("k"), Data: text(n)}))
	}
	must(t, w.close())
	if n := bytes.Count(file.Bytes(), append([]byte{1}, make([]byte, 15)...)); n != 4 {
		t.Errorf("%d sync markers, want one of the header and three of blocks", n)
	}
	var got []int
	err = eachOfContainer(&file, 1, `"string"`, func(r Row) error {
		got = append(got, len(r.Data))
		return nil
	})
	if err != nil || len(got) != len(sizes) {
		t.Errorf("%v, %v", got, err)
	}
	if err := w.add(Row{Data: make([]byte, maxBlockBytes)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// A failed export leaves nothing.
func TestExportFails(t *testing.T) {
	_, s, _ := newJobOf(t, 1).saveToDisk(t)
	for op := 1; op < 500; op++ {
		mem := newMemFS()
		mem.failAt = op
		err := s.Export(t.Context(), mem, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("operation %d: %v", op, err)
		}
		infos, listErr := mem.List(".")
		must(t, listErr)
		if len(infos) > 0 {
			t.Fatalf("operation %d left %s", op, infos[0].Name())
		}
	}
	t.Error("export never succeeded")
}

func TestCopyOut(t *testing.T) {
	_, s, dir := newTestJob(t).saveToDisk(t)
	dst := t.TempDir()
	must(t, s.CopyOut(t.Context(), "arm", 1, openDir(t, dst), nil))
	for _, f := range allFiles(t, dst) {
		if !bytes.Equal(readFile(t, filepath.Join(dst, f)), readFile(t, filepath.Join(dir, partDir("arm", 1), f))) {
			t.Errorf("%s differs", f)
		}
	}
	p, _ := s.Manifest().Part("arm", 1)
	if got := allFiles(t, dst); len(got) != len(p.Files) {
		t.Errorf("%v", got)
	}
	table := filepath.Join(dir, partDir("arm", 1), partTables(*p)[0])
	content := readFile(t, table)
	content[0] ^= 1
	must(t, os.WriteFile(table, content, 0o644))
	if err := s.CopyOut(t.Context(), "arm", 1, openDir(t, t.TempDir()), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	portable, _ := exported(t, mustOpen(t, newTestJob(t)))
	if err := portable.CopyOut(t.Context(), "arm", 1, openDir(t, t.TempDir()), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("portable: %v", err)
	}
}

func mustOpen(t *testing.T, j *testJob) *Savepoint {
	t.Helper()
	_, s, _ := j.saveToDisk(t)
	return s
}
