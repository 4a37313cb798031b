package savepoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/procd/procd/kstate"
)

// validManifest is a manifest that passes every check.
func validManifest(t testing.TB) *Manifest {
	t.Helper()
	data, err := readAll(openDir(t, goldenNative), manifestName, maxManifestBytes)
	must(t, err)
	m, _, err := decodeManifest(data)
	must(t, err)
	return m
}

// Nothing that a manifest says is believed: names, sizes, numbers, sums.
func TestHostileManifests(t *testing.T) {
	part := func(m *Manifest) *Part { return &m.Stores[0].Parts[0] }
	for name, c := range map[string]struct {
		change func(m *Manifest)
		want   error
	}{
		"id":                  {func(m *Manifest) { m.ID = "../../etc" }, ErrName},
		"job":                 {func(m *Manifest) { m.Job = "a/b" }, ErrName},
		"form":                {func(m *Manifest) { m.Form = "zip" }, ErrInvalid},
		"generation":          {func(m *Manifest) { m.Generation = 0 }, ErrInvalid},
		"definition's name":   {func(m *Manifest) { m.Definition.Name = "manifest.json" }, ErrName},
		"definition's size":   {func(m *Manifest) { m.Definition.Size = 1 << 30 }, ErrTooLarge},
		"topic":               {func(m *Manifest) { m.Sources[0].Name = "a b" }, ErrName},
		"topic twice":         {func(m *Manifest) { m.Sources = append(m.Sources, m.Sources[0]) }, ErrName},
		"topic id":            {func(m *Manifest) { m.Sources[0].ID = "x" }, ErrInvalid},
		"topic's partitions":  {func(m *Manifest) { m.Sources[0].Partitions = 1 << 30 }, ErrInvalid},
		"offset missing (O2)": {func(m *Manifest) { m.Sources[0].Partitions = 2 }, ErrInvalid},
		"offset negative":     {func(m *Manifest) { m.Tasks[0].Sources[0].Offset = -1 }, ErrInvalid},
		"offset twice":        {func(m *Manifest) { m.Tasks[0].Sources = append(m.Tasks[0].Sources, m.Tasks[0].Sources[0]) }, ErrInvalid},
		"stage twice":         {func(m *Manifest) { m.Stages = append(m.Stages, m.Stages[0]) }, ErrInvalid},
		"partitioner":         {func(m *Manifest) { m.Stages[0].Partitioner = "md5" }, ErrInvalid},
		"task missing":        {func(m *Manifest) { m.Stages[0].Partitions = 2 }, ErrInvalid},
		"task of no stage":    {func(m *Manifest) { m.Tasks[0].Stage = "in:x" }, ErrInvalid},
		"uid":                 {func(m *Manifest) { m.Stores[0].UID = ".." }, ErrName},
		"store twice":         {func(m *Manifest) { m.Stores = append(m.Stores, m.Stores[0]) }, ErrInvalid},
		"version order":       {func(m *Manifest) { m.Stores[0].Versions[1].Version = 1 }, ErrInvalid},
		"version too high":    {func(m *Manifest) { m.Stores[0].Versions[1].Version = 1 << 20 }, ErrInvalid},
		"schema":              {func(m *Manifest) { m.Stores[0].Versions[0].Schema = "{" }, ErrInvalid},
		"schema's size":       {func(m *Manifest) { m.Stores[0].Versions[0].Schema = strings.Repeat(" ", 2<<20) }, ErrInvalid},
		"current":             {func(m *Manifest) { m.Stores[0].Current = 3 }, ErrInvalid},
		"sum of rows":         {func(m *Manifest) { m.Stores[0].Versions[0].Rows++ }, ErrInvalid},
		"rows of no version":  {func(m *Manifest) { part(m).Rows[0].Version = 9 }, ErrInvalid},
		"part missing":        {func(m *Manifest) { m.Stores[0].Parts = nil }, ErrInvalid},
		"part's number":       {func(m *Manifest) { part(m).Partition = 7 }, ErrInvalid},
		"instance":            {func(m *Manifest) { part(m).Instance = "" }, ErrName},
		"changelog":           {func(m *Manifest) { part(m).Changelog = -1 }, ErrInvalid},
		"P14: disagrees":      {func(m *Manifest) { part(m).Sources = []kstate.SourceOffset{{Topic: "alarm-events", Offset: 99}} }, ErrDisagree},
		"file leads outside":  {func(m *Manifest) { part(m).Files[0].Name = "../../x" }, ErrName},
		"file is absolute":    {func(m *Manifest) { part(m).Files[0].Name = "/etc/passwd" }, ErrName},
		"file is hidden":      {func(m *Manifest) { part(m).Files[0].Name = ".x" }, ErrName},
		"file in upper case":  {func(m *Manifest) { part(m).Files[0].Name = "MANIFEST-x" }, ErrName},
		"files differ in case": {func(m *Manifest) {
			part(m).Files[0].Name, part(m).Files[1].Name = "manifest-000001", "MANIFEST-000001"
		}, ErrName},
		"file's size":     {func(m *Manifest) { part(m).Files[0].Size = 1 << 50 }, ErrTooLarge},
		"file's checksum": {func(m *Manifest) { part(m).Files[0].SHA256 = "00" }, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			m := validManifest(t)
			must(t, m.Check())
			c.change(m)
			err := m.Check()
			if !errors.Is(err, c.want) || len(err.Error()) > 8<<10 {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, _, err := encodeManifest(m); err == nil {
				t.Error("it can be written")
			}
		})
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	data, err := readAll(openDir(t, goldenNative), manifestName, maxManifestBytes)
	must(t, err)
	newer := bytes.Replace(data, []byte(`"format_version": 1`), []byte(`"format_version": 2`), 1)
	if _, _, err := decodeManifest(newer); !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "format 2, this one knows 1") {
		t.Errorf("%v", err)
	}
	if _, _, err := decodeManifest([]byte(`{"format_version": 7, "anything": []}`)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("another layout: %v", err)
	}
}

// Fields of later versions of format 1 are ignored.
func TestUnknownFields(t *testing.T) {
	m := validManifest(t)
	data, _, err := encodeManifest(m)
	must(t, err)
	_, body, _ := bytes.Cut(data, []byte(`"manifest": {`))
	body = append([]byte(`{"later": [1],`), bytes.TrimSuffix(body, []byte(manifestTail))...)
	file := fmt.Appendf(nil, manifestHead, FormatVersion, sumOf(body))
	got, _, err := decodeManifest(append(append(file, body...), manifestTail...))
	must(t, err)
	if got.ID != m.ID {
		t.Errorf("%+v", got)
	}
}

// Whatever is read as a manifest is valid and writes the same again.
func FuzzManifest(f *testing.F) {
	data, err := readAll(openDir(f, goldenNative), manifestName, maxManifestBytes)
	must(f, err)
	_, body, _ := bytes.Cut(data, []byte(`"manifest": `))
	f.Add(bytes.TrimSuffix(body, []byte(manifestTail)), true)
	f.Add(data, false)
	f.Fuzz(func(t *testing.T, body []byte, wrap bool) {
		file := body
		if wrap {
			file = append(append(fmt.Appendf(nil, manifestHead, FormatVersion, sumOf(body)), body...), manifestTail...)
		}
		m, _, err := decodeManifest(file)
		if err != nil {
			return
		}
		again, _, err := encodeManifest(m)
		if err != nil {
			t.Fatalf("read, but cannot be written: %v", err)
		}
		if _, _, err := decodeManifest(again); err != nil {
			t.Fatalf("written, but cannot be read: %v", err)
		}
	})
}

// Rows without bytes cannot be counted up without end (D3).
func TestRowsOfNoBytes(t *testing.T) {
	for _, schema := range []string{`{"type":"array","items":"null"}`, `{"type":"map","values":"null"}`, `"null"`} {
		var file bytes.Buffer
		_, err := newContainer(&file, schema, [16]byte{1})
		must(t, err)
		data := binary.AppendVarint([]byte{0}, 1<<40) // an empty key, 2^40 items
		block := binary.AppendVarint(binary.AppendVarint(nil, 1), int64(len(data)))
		file.Write(append(append(block, data...), append([]byte{1}, make([]byte, 15)...)...))
		err = eachOfContainer(&file, 1, schema, func(Row) error { return nil })
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

// Blocks of impossible sizes or counts are refused before they are read (D3).
func TestBlocksAreBounded(t *testing.T) {
	for _, c := range []struct{ rows, size int64 }{{1, -1}, {0, 4}, {-1, 4}, {5, 4}, {1, maxBlockBytes + 1}, {1, 1 << 62}} {
		var file bytes.Buffer
		_, err := newContainer(&file, sumV1, [16]byte{1})
		must(t, err)
		file.Write(binary.AppendVarint(binary.AppendVarint(nil, c.rows), c.size))
		file.Write(make([]byte, 100))
		err = eachOfContainer(&file, 1, sumV1, func(Row) error { return nil })
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "rows in") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Containers of any bytes end, with rows or an error, in bounded memory.
func FuzzContainer(f *testing.F) {
	for _, c := range []struct {
		schema, file string
	}{{sumV1, "sum/0/v1.avro"}, {armV1, "arm/0/v1.avro"}, {armV2, "arm/0/v2.avro"}} {
		data, err := readAll(openDir(f, goldenPortable), "stores/"+c.file, 1<<20)
		must(f, err)
		f.Add(data, c.schema)
	}
	f.Add([]byte(containerMagic), `{"type":"array","items":"null"}`)
	f.Fuzz(func(t *testing.T, data []byte, schema string) {
		rows := 0
		err := eachOfContainer(bytes.NewReader(data), 1, schema, func(r Row) error {
			rows += 1 + len(r.Key) + len(r.Data)
			return nil
		})
		if rows > len(data) {
			t.Fatalf("%d bytes of rows from %d, %v", rows, len(data), err)
		}
	})
}
