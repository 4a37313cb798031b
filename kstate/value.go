package kstate

import "fmt"

// decode fills v from stored bytes, by the reader of the schema version that
// they were written with: old versions are migrated as they are read.
func (s *Store[S]) decode(value []byte, v *S) error {
	version, data, err := splitValue(value)
	if err != nil {
		return err
	}
	read, err := s.reader(version)
	if err != nil {
		return err
	}
	return read(data, v)
}

// reader returns the reader of a schema version, made at its first use.
func (s *Store[S]) reader(version int) (reader[S], error) {
	if version < len(s.readers) && s.readers[version] != nil {
		return s.readers[version], nil
	}
	schema, ok := s.versions[version]
	if !ok {
		return nil, fmt.Errorf("%w: value has schema version %d, which nobody described", ErrSchema, version)
	}
	read, err := s.typ.Reader(schema)
	if err != nil {
		return nil, fmt.Errorf("%w: version %d cannot be read as the current type: %w", ErrSchema, version, err)
	}
	for len(s.readers) <= version {
		s.readers = append(s.readers, nil)
	}
	s.readers[version] = read
	return read, nil
}

// prepareReader makes the reader that decoded types need for what they wrote
// themselves, at a point where its error can still be returned.
func (s *Store[S]) prepareReader() error {
	if s.mode != decodes {
		return nil
	}
	_, err := s.reader(s.current)
	return err
}

// Encoded returns the changelog value that the entry's state would have now,
// or nil if there is no state. It is for tasks that must blame the record at
// hand (P22): a state that does not encode is found here instead of at Changes.
// The result is valid until the next call.
func (s *Store[S]) Encoded(e *Entry[S]) ([]byte, error) {
	if !e.has {
		return nil, nil
	}
	value, err := s.typ.Append(append(s.valueBuf[:0], s.header...), &e.value)
	if err != nil {
		return nil, s.keyError(s.entries.key(e), err)
	}
	s.valueBuf = value
	return value, nil
}
