package kstate

import (
	"encoding/binary"
	"fmt"
)

// The first byte of every changelog key, and of every key in Pebble. Metadata
// of the store has a kind of its own, so that no scan of keys can meet it (S11).
const (
	kindSchema byte = 0x00
	kindValue  byte = 0x01
	kindMeta   byte = 0xff // only in Pebble
)

// Bounds on what is read (D3). A schema is a text that people write, and the
// version counts its changes.
const (
	maxSchemaBytes = 1 << 20
	maxVersion     = 1 << 16
)

// deletedVersion stands where a value's schema version would, and says that
// the key is deleted even if a base savepoint has it (P16).
const deletedVersion = 0

// isMarker says whether a stored value is the deleted marker.
func isMarker(value []byte) bool { return len(value) == 1 && value[0] == deletedVersion }

// Change is one decoded changelog record.
type Change struct {
	// Schema is set in a schema record: Version and Data are a SchemaVersion.
	// Otherwise the record is about Key.
	Schema bool
	// Key is the store's key, as it is in Kafka records.
	Key []byte
	// Deleted says that the key has no value: by a tombstone, or by a deleted
	// marker (Marker), which a base savepoint's keys need (P16).
	Deleted, Marker bool
	// Version numbers the schema, Data are the Avro bytes written with it, or
	// the schema's text in a schema record.
	Version int
	Data    []byte
}

// AppendKey appends the changelog key of a store's key.
func AppendKey(dst, key []byte) []byte {
	return append(append(dst, kindValue), key...)
}

// AppendValue appends the changelog value of Avro bytes written with the
// numbered schema.
func AppendValue(dst []byte, version int, avro []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(version)), avro...)
}

// AppendSchemaKey appends the key of the record that holds a schema; the value
// is the schema's text (P18).
func AppendSchemaKey(dst []byte, version int) []byte {
	return binary.AppendUvarint(append(dst, kindSchema), uint64(version))
}

// ParseChangelog decodes a changelog record. The result refers to key and
// value. The error wraps ErrMalformed.
func ParseChangelog(key, value []byte) (Change, error) {
	if len(key) == 0 {
		return Change{}, fmt.Errorf("%w: the key has no kind byte", ErrMalformed)
	}
	switch key[0] {
	case kindValue:
		return parseValue(key[1:], value)
	case kindSchema:
		return parseSchema(key[1:], value)
	}
	return Change{}, fmt.Errorf("%w: unknown kind 0x%02x of key %q", ErrMalformed, key[0], key)
}

func parseValue(key, value []byte) (Change, error) {
	if value == nil {
		return Change{Key: key, Deleted: true}, nil
	}
	version, data, err := splitValue(value)
	if err != nil {
		return Change{}, fmt.Errorf("%w of key %q", err, key)
	}
	if version == deletedVersion {
		return Change{Key: key, Deleted: true, Marker: true}, nil
	}
	return Change{Key: key, Version: version, Data: data}, nil
}

// splitValue cuts a stored value into schema version and Avro bytes. Version 0
// is the deleted marker, which has no data.
func splitValue(value []byte) (version int, data []byte, err error) {
	version, n := canonicalUvarint(value)
	if n == 0 {
		return 0, nil, fmt.Errorf("%w: value does not start with a schema version", ErrMalformed)
	}
	if version == deletedVersion && len(value) > n {
		return 0, nil, fmt.Errorf("%w: %d bytes after the deleted marker", ErrMalformed, len(value)-n)
	}
	return version, value[n:], nil
}

func parseSchema(number, value []byte) (Change, error) {
	version, n := canonicalUvarint(number)
	if n != len(number) || version == deletedVersion {
		return Change{}, fmt.Errorf("%w: key of a schema record has no version: %x", ErrMalformed, number)
	}
	if len(value) == 0 || len(value) > maxSchemaBytes {
		return Change{}, fmt.Errorf("%w: schema version %d has %d bytes, of 1 to %d", ErrMalformed, version, len(value), maxSchemaBytes)
	}
	return Change{Schema: true, Version: version, Data: value}, nil
}

// canonicalUvarint reads a version number. It takes only the shortest
// spelling, because two spellings of one version would be two keys. n is 0 if
// there is none.
func canonicalUvarint(b []byte) (version, n int) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > maxVersion || (n > 1 && b[n-1] == 0) {
		return 0, 0
	}
	return int(v), n
}
