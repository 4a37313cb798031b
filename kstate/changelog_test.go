package kstate

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestParseChangelog(t *testing.T) {
	tests := []struct {
		name       string
		key, value []byte
		want       Change
	}{
		{"value", []byte("\x01key"), []byte("\x05data"), Change{Key: []byte("key"), Version: 5, Data: []byte("data")}},
		{"version of two bytes", []byte("\x01key"), []byte("\x80\x01data"), Change{Key: []byte("key"), Version: 128, Data: []byte("data")}},
		{"empty data", []byte("\x01key"), []byte("\x01"), Change{Key: []byte("key"), Version: 1, Data: []byte{}}},
		{"empty key", []byte("\x01"), []byte("\x01d"), Change{Key: []byte{}, Version: 1, Data: []byte("d")}},
		{"tombstone", []byte("\x01key"), nil, Change{Key: []byte("key"), Deleted: true}},
		{"deleted marker", []byte("\x01key"), []byte{0}, Change{Key: []byte("key"), Deleted: true, Marker: true}},
		{"schema", []byte("\x00\x03"), []byte(`"long"`), Change{Schema: true, Version: 3, Data: []byte(`"long"`)}},
	}
	for _, tt := range tests {
		got, err := ParseChangelog(tt.key, tt.value)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseChangelogRefuses(t *testing.T) {
	tests := []struct {
		name       string
		key, value []byte
	}{
		{"no key", nil, []byte("\x01d")},
		{"unknown kind", []byte("\x02key"), []byte("\x01d")},
		{"metadata", []byte("\xffposition"), []byte("\x01d")},
		{"empty value", []byte("\x01key"), []byte{}},
		{"unfinished version", []byte("\x01key"), []byte{0x80}},
		{"padded version", []byte("\x01key"), []byte{0x81, 0x00}},
		{"huge version", []byte("\x01key"), []byte{0xff, 0xff, 0xff, 0x7f}},
		{"data after the deleted marker", []byte("\x01key"), []byte("\x00d")},
		{"schema without version", []byte("\x00"), []byte("s")},
		{"schema of version 0", []byte("\x00\x00"), []byte("s")},
		{"schema with a longer key", []byte("\x00\x01x"), []byte("s")},
		{"schema tombstone", []byte("\x00\x01"), nil},
		{"schema too large", []byte("\x00\x01"), make([]byte, maxSchemaBytes+1)},
	}
	for _, tt := range tests {
		if c, err := ParseChangelog(tt.key, tt.value); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v; want ErrMalformed", tt.name, c, err)
		}
	}
}

// FuzzParseChangelog checks that what parses is spelled in the only way that
// the builders spell it.
func FuzzParseChangelog(f *testing.F) {
	f.Add([]byte("\x01key"), []byte("\x05data"), false)
	f.Add([]byte("\x01key"), []byte{0}, false)
	f.Add([]byte("\x00\x03"), []byte("schema"), false)
	f.Add([]byte("\x01"), []byte{}, true)
	f.Add([]byte{}, []byte{0x80}, false)
	f.Fuzz(func(t *testing.T, key, value []byte, tombstone bool) {
		if tombstone {
			value = nil
		}
		c, err := ParseChangelog(key, value)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		wantKey, wantValue := AppendKey(nil, c.Key), []byte(nil)
		switch {
		case c.Schema:
			wantKey, wantValue = AppendSchemaKey(nil, c.Version), c.Data
		case !c.Deleted || c.Marker:
			wantValue = AppendValue(nil, c.Version, c.Data)
		}
		if !bytes.Equal(key, wantKey) || !bytes.Equal(value, wantValue) {
			t.Fatalf("%x %x parses as %+v, which is spelled %x %x", key, value, c, wantKey, wantValue)
		}
	})
}
