package savepoint

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/twmb/avro"
)

// RowsExact reports whether the numbers of rows are no upper bounds, see
// [Version].
func (m *Manifest) RowsExact() bool {
	for i := range m.Stores {
		for j := range m.Stores[i].Parts {
			if m.Form == Native && m.Stores[i].Parts[j].Entries() > MaxCounted {
				return false
			}
		}
	}
	return true
}

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

// errStopped says that nobody wants more rows.
var errStopped = errors.New("stopped")

func (s *Savepoint) eachRow(ctx context.Context, uid string, partition int32, fn func(Row) bool) error {
	p, err := s.part(uid, partition)
	if err != nil {
		return err
	}
	if err := s.verifyOnce(ctx, p); err != nil {
		return err
	}
	if s.manifest.Form == Portable {
		err := s.eachPortable(ctx, p, func(r Row) error {
			if !fn(r) {
				return errStopped
			}
			return nil
		})
		if errors.Is(err, errStopped) {
			return nil
		}
		return err
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
	schemas := make(map[int]string, len(store.Versions))
	for _, v := range store.Versions {
		schemas[v.Version] = v.Schema
	}
	return NewDecoder(uid, store.KeyType, schemas)
}

// NewDecoder returns the decoder of the rows of a store whose schemas are known
// from elsewhere, by their versions.
func NewDecoder(uid, keyType string, schemas map[int]string) (*Decoder, error) {
	d := &Decoder{uid: uid, keyType: keyType, schemas: make(map[int]*avro.Schema, len(schemas))}
	for version, text := range schemas {
		schema, err := parseSchema(text)
		if err != nil {
			return nil, fmt.Errorf("%w: schema %d of store %s: %w", ErrInvalid, version, uid, err)
		}
		d.schemas[version] = schema
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
// "value": ...}. The key is [KeyJSON], the value as [Decoder.AppendValue] has it.
func (d *Decoder) AppendJSON(dst []byte, r Row) ([]byte, error) {
	dst = append(dst, `{"key":`...)
	dst = append(dst, KeyJSON(d.keyType, r.Key)...)
	dst = fmt.Appendf(dst, `,"version":%d,"value":`, r.Version)
	dst, err := d.AppendValue(dst, r)
	return append(dst, '}'), err
}

// AppendValue appends a row's state as JSON. Fields are in the order of the
// schema, unions are written without the name of their branch.
func (d *Decoder) AppendValue(dst []byte, r Row) ([]byte, error) {
	v, err := d.Value(r)
	if err != nil {
		return dst, err
	}
	dst, err = d.schemas[r.Version].AppendEncodeJSON(dst, v)
	if err != nil {
		return dst, fmt.Errorf("%w: store %s, key %q: %w", ErrMalformed, d.uid, r.Key, err)
	}
	return dst, nil
}
