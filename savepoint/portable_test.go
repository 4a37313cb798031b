package savepoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/procd/procd/topology"
)

// handMade changes an exported savepoint as somebody with other tools does: its
// manifest, and rows of a container, all of them with right checksums.
func handMade(t *testing.T, dir string, change func(m *Manifest), rows map[string][]Row) *Savepoint {
	t.Helper()
	name := filepath.Join(dir, manifestName)
	m, _, err := decodeManifest(readFile(t, name))
	must(t, err)
	for i := range m.Stores {
		s := &m.Stores[i]
		for j := range s.Parts {
			p := &s.Parts[j]
			for k, f := range p.Files {
				file := filepath.Join(partDir(p.UID, p.Partition), f.Name)
				if rows, ok := rows[file]; ok {
					data := containerOf(t, s, f.Name, rows)
					must(t, os.WriteFile(filepath.Join(dir, file), data, 0o644))
					p.Files[k] = File{Name: f.Name, Size: int64(len(data)), SHA256: sumOf(data)}
				}
			}
		}
	}
	if change != nil {
		change(m)
	}
	data, _, err := encodeManifest(m)
	must(t, err)
	must(t, os.WriteFile(name, data, 0o644))
	s, err := OpenPath(dir)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func containerOf(t *testing.T, s *Store, name string, rows []Row) []byte {
	t.Helper()
	version, err := containerVersion(name)
	must(t, err)
	schema, _ := s.Schema(version)
	var file bytes.Buffer
	w, err := newContainer(&file, schema, [16]byte{1})
	must(t, err)
	for _, r := range rows {
		must(t, w.add(r))
	}
	must(t, w.close())
	return file.Bytes()
}

func eachRow(t *testing.T, s *Savepoint, uid string, partition int32) (rows []string, err error) {
	t.Helper()
	err = s.EachRow(t.Context(), uid, partition, func(r Row) error {
		rows = append(rows, fmt.Sprintf("%s %d %x", r.Key, r.Version, r.Data))
		return nil
	})
	return rows, err
}

func TestEachRow(t *testing.T) {
	_, s, _ := newTestJob(t).saveToDisk(t)
	p, _ := exported(t, s)
	rows, err := eachRow(t, p, "arm", 1)
	if err != nil || len(rows) != 20 || rows[0] != "100 1 0100" || rows[19] != "119 2 00260206626f62" {
		t.Errorf("%v, %v", rows, err)
	}
	if _, err := eachRow(t, p, "arm", 2); !errors.Is(err, ErrNoStore) {
		t.Errorf("no such partition: %v", err)
	}
	if _, err := eachRow(t, s, "arm", 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("a native savepoint: %v", err)
	}
	n := 0
	enough := errors.New("enough")
	if err := p.EachRow(t.Context(), "arm", 0, func(Row) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("after %d rows: %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.EachRow(ctx, "arm", 0, func(Row) error { return nil }); !errors.Is(err, context.Canceled) || errors.Is(err, ErrDamaged) {
		t.Errorf("ended by its context: %v", err)
	}
}

// Rows of a newer schema come after those of an older one, whatever the order
// of the names: the last row of a key counts.
func TestContainersInOrderOfVersion(t *testing.T) {
	files, err := byVersion([]File{{Name: "v1.avro"}, {Name: "v10.avro"}, {Name: "v2.avro"}})
	must(t, err)
	if got := fmt.Sprint(files[0].Name, files[1].Name, files[2].Name); got != "v1.avrov2.avrov10.avro" {
		t.Error(got)
	}
	if _, err := byVersion([]File{{Name: "rows.avro"}}); !errors.Is(err, ErrName) {
		t.Errorf("%v", err)
	}
}

// P16: whatever is wrong with the bytes is found by who reads the rows, with no
// look at them before, and is said to be damage and not what follows from it.
func TestP16EachRowVerifies(t *testing.T) {
	_, s, _ := newJobOf(t, 1).saveToDisk(t)
	p, dir := exported(t, s)
	name := filepath.Join(dir, "stores/arm/0/v1.avro")
	intact := readFile(t, name)
	for i := range intact {
		spoilt := bytes.Clone(intact)
		spoilt[i] ^= 1 << (i % 8)
		must(t, os.WriteFile(name, spoilt, 0o644))
		if _, err := eachRow(t, p, "arm", 0); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "stores/arm/0/v1.avro: its checksum is wrong") {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for what, spoilt := range map[string][]byte{"cut": intact[:len(intact)-3], "longer": append(bytes.Clone(intact), 0), "empty": nil} {
		must(t, os.WriteFile(name, spoilt, 0o644))
		if _, err := eachRow(t, p, "arm", 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, os.Remove(name))
	if _, err := eachRow(t, p, "arm", 0); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "it is missing") {
		t.Errorf("missing: %v", err)
	}
	must(t, os.WriteFile(name, intact, 0o644))
	if rows, err := eachRow(t, p, "arm", 0); err != nil || len(rows) != 20 {
		t.Errorf("intact again: %d rows, %v", len(rows), err)
	}
}

// What other tools made wrong is found before a start, though every checksum is
// right.
func TestVerifyHandMade(t *testing.T) {
	const sums = "stores/sum/0/v1.avro"
	murmur := func(m *Manifest) { m.Stages[0].Partitioner = topology.Murmur2 }
	rows := func(n int64) func(m *Manifest) {
		return func(m *Manifest) {
			m.Stores[1].Versions[0].Rows += n - m.Stores[1].Parts[0].Rows[0].Rows
			m.Stores[1].Parts[0].Rows[0].Rows = n
		}
	}
	here, there := keysOn(0, 2), keysOn(1, 2)
	for _, c := range []struct {
		name   string
		change func(*Manifest)
		rows   map[string][]Row
		say    string // "": nothing
	}{
		{"as it was", nil, nil, ""},
		{"rows changed", rows(2), map[string][]Row{sums: {{[]byte("a"), 1, []byte{2}}, {[]byte("b"), 1, []byte{4}}}}, ""},
		{"fewer rows", rows(3), map[string][]Row{sums: {{[]byte("a"), 1, []byte{2}}}}, "manifest.json: store sum, partition 0, version 1: the number of rows is wrong by -2"},
		{"more rows", rows(0), nil, "the number of rows is wrong by 1"},
		{"no row", rows(0), map[string][]Row{sums: {}}, ""},
		{"another partition's key", func(m *Manifest) { rows(1)(m); murmur(m) }, map[string][]Row{sums: {{there, 1, []byte{2}}}}, fmt.Sprintf("sum/0/v1.avro: key %q belongs on partition 1, by murmur2", there)},
		{"a row that is no state", rows(1), map[string][]Row{sums: {{here, 1, []byte{0x80}}}}, "sum/0/v1.avro: "},
		{"half a row more", rows(1), map[string][]Row{sums: {{here, 1, []byte{2, 0}}}}, "sum/0/v1.avro: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, s, _ := newTestJob(t).saveToDisk(t)
			_, dir := exported(t, s)
			if c.name == "another partition's key" { // all others have to be where they belong
				c.rows = fillRows(c.rows, here, there)
				inner := c.change
				c.change = func(m *Manifest) { inner(m); oneRowEach(m) }
			}
			err := handMade(t, dir, c.change, c.rows).Verify(t.Context(), nil)
			if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v, want %q", err, c.say)
			}
		})
	}
}

// keysOn is a key of partition p of n.
func keysOn(p, n int32) []byte {
	for i := 0; ; i++ {
		if key := fmt.Appendf(nil, "k%d", i); topology.Murmur2.Partition(key, n) == p {
			return key
		}
	}
}

// fillRows gives every container that is not there one row of the right key.
func fillRows(rows map[string][]Row, keys ...[]byte) map[string][]Row {
	for p, key := range keys {
		for file, data := range map[string][]byte{"arm/%d/v1.avro": {1, 2}, "arm/%d/v2.avro": {0, 2, 0}, "sum/%d/v1.avro": {2}} {
			name := "stores/" + fmt.Sprintf(file, p)
			if _, ok := rows[name]; !ok {
				rows[name] = []Row{{Key: key, Data: data}}
			}
		}
	}
	return rows
}

func oneRowEach(m *Manifest) {
	for i := range m.Stores {
		s := &m.Stores[i]
		for j := range s.Parts {
			s.Parts[j].Rows = slices.Clone(s.Parts[j].Rows)
			for k := range s.Parts[j].Rows {
				s.Parts[j].Rows[k].Rows = 1
			}
		}
		for j := range s.Versions {
			s.Versions[j].Rows = int64(len(s.Parts))
		}
	}
}
