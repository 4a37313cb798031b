package savepoint

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/twmb/avro"
)

// Row is one key's state, as it is stored.
type Row struct {
	// Key is the key of the Kafka records that it belongs to.
	Key []byte
	// Version numbers the schema that Data is written with.
	Version int
	// Data are the Avro bytes.
	Data []byte
}

// Rows iterates over the rows of one part, in the order of keys in a native
// savepoint. The part's files are verified before the first row. A row is valid
// until the next one. An error ends the iteration.
func (s *Savepoint) Rows(ctx context.Context, uid string, partition int32) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		stopped := false
		err := s.eachRow(ctx, uid, partition, func(r Row) bool {
			stopped = !yield(r, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(Row{}, err)
		}
	}
}

func (s *Savepoint) eachRow(ctx context.Context, uid string, partition int32, fn func(Row) bool) error {
	p, err := s.part(uid, partition)
	if err != nil {
		return err
	}
	if err := s.verifyOnce(ctx, p); err != nil {
		return err
	}
	if s.manifest.Form == Portable {
		return s.eachPortable(ctx, p, fn)
	}
	n, err := openNative(s.fs, s.partPath(p), p.Files)
	if err != nil {
		return fmt.Errorf("savepoint %s, store %s, partition %d: %w", s.name, uid, partition, err)
	}
	err = n.each(ctx, fn)
	if err := errors.Join(err, n.close()); err != nil {
		return fmt.Errorf("savepoint %s, store %s, partition %d: %w", s.name, uid, partition, err)
	}
	return nil
}

// Decoder turns the rows of one store into values and JSON, for people. It is
// safe for concurrent use.
type Decoder struct {
	uid     string
	keyType string
	schemas map[int]*avro.Schema
}

// Decoder returns the decoder of a store's rows.
func (s *Savepoint) Decoder(uid string) (*Decoder, error) {
	store, ok := s.manifest.Store(uid)
	if !ok {
		return nil, fmt.Errorf("%w: %s of savepoint %s", ErrNoStore, uid, s.name)
	}
	d := &Decoder{uid: uid, keyType: store.KeyType, schemas: make(map[int]*avro.Schema)}
	for _, v := range store.Versions {
		schema, err := parseSchema(v.Schema)
		if err != nil {
			return nil, fmt.Errorf("%w: schema %d of store %s: %w", ErrInvalid, v.Version, uid, err)
		}
		d.schemas[v.Version] = schema
	}
	return d, nil
}

// Value decodes a row's state: a record is a map[string]any, numbers are int32,
// int64, float32 or float64, logical types what twmb/avro makes of them.
func (d *Decoder) Value(r Row) (any, error) {
	schema, ok := d.schemas[r.Version]
	if !ok {
		return nil, fmt.Errorf("%w: store %s, key %q: schema version %d is not in the manifest", ErrMalformed, d.uid, r.Key, r.Version)
	}
	var v any
	rest, err := schema.Decode(r.Data, &v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: store %s, key %q: %w", ErrMalformed, d.uid, r.Key, err)
	}
	return v, nil
}

// AppendJSON appends a row as one JSON object: {"key": ..., "version": 1,
// "value": ...}. Fields are in the order of the schema, unions are written
// without the name of their branch.
func (d *Decoder) AppendJSON(dst []byte, r Row) ([]byte, error) {
	v, err := d.Value(r)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"key":`...)
	dst = append(dst, d.keyJSON(r.Key)...)
	dst = fmt.Appendf(dst, `,"version":%d,"value":`, r.Version)
	dst, err = d.schemas[r.Version].AppendEncodeJSON(dst, v)
	if err != nil {
		return dst, fmt.Errorf("%w: store %s, key %q: %w", ErrMalformed, d.uid, r.Key, err)
	}
	return append(dst, '}'), nil
}

// keyJSON is a key as JSON: numbers and booleans as themselves, composite keys
// as a list of their parts. What is not the text that its type says is
// {"base64": ...}, as bytes are.
func (d *Decoder) keyJSON(key []byte) []byte {
	switch d.keyType {
	case "int":
		if n, err := strconv.ParseInt(string(key), 10, 64); err == nil && strconv.FormatInt(n, 10) == string(key) {
			return slices.Clone(key)
		}
	case "bool":
		if s := string(key); s == "true" || s == "false" {
			return slices.Clone(key)
		}
	case "composite":
		if text, ok := compositeJSON(key); ok {
			return text
		}
	case "string":
		if text, err := jsontext.AppendQuote(nil, key); err == nil {
			return text
		}
	}
	return fmt.Appendf(nil, `{"base64":%q}`, base64.StdEncoding.EncodeToString(key))
}

// compositeJSON splits a composite key: per part four bytes of length and the
// text.
func compositeJSON(key []byte) ([]byte, bool) {
	text := []byte{'['}
	for len(key) > 0 {
		if len(key) < 4 {
			return nil, false
		}
		n := uint64(binary.BigEndian.Uint32(key))
		if key = key[4:]; n > uint64(len(key)) {
			return nil, false
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		var err error
		if text, err = jsontext.AppendQuote(text, key[:n]); err != nil {
			return nil, false
		}
		key = key[n:]
	}
	return append(text, ']'), true
}
