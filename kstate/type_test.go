package kstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The types of the tests have no Avro: kstate never looks into the bytes.

// counter is assigned.
type counter struct {
	N    int64
	Name string
}

var errUnencodable = errors.New("negative counters do not encode")

// counterType writes schema "v2"; it reads "v1", which had no name.
type counterType struct{ schema string }

func (t counterType) Schema() string {
	if t.schema == "" {
		return "v2"
	}
	return t.schema
}

func (counterType) Copy(dst, src *counter) bool { *dst = *src; return true }

func (t counterType) Append(dst []byte, v *counter) ([]byte, error) {
	if v.N < 0 {
		return nil, errUnencodable
	}
	dst = binary.AppendVarint(dst, v.N)
	if t.schema == "v1" {
		return dst, nil
	}
	return append(dst, v.Name...), nil
}

func (counterType) Reader(writer string) (func(data []byte, v *counter) error, error) {
	if writer != "v1" && writer != "v2" {
		return nil, fmt.Errorf("no way from %q", writer)
	}
	return func(data []byte, v *counter) error {
		n, used := binary.Varint(data)
		if used <= 0 {
			return errors.New("truncated counter")
		}
		*v = counter{N: n, Name: string(data[used:])}
		if writer == "v1" {
			v.Name = "migrated"
		}
		return nil
	}, nil
}

// list can be separated by decoding only, or by copying where deep is set.
type list struct{ Items []int64 }

type listType struct{ deep bool }

func (listType) Schema() string { return "list" }

func (t listType) Copy(dst, src *list) bool {
	switch {
	case !t.deep:
		return false
	case src.Items == nil:
		dst.Items = nil
	default:
		dst.Items = append(dst.Items[:0], src.Items...)
	}
	return true
}

func (listType) Append(dst []byte, v *list) ([]byte, error) {
	for _, n := range v.Items {
		if n < 0 {
			return nil, errUnencodable
		}
		dst = binary.AppendVarint(dst, n)
	}
	return dst, nil
}

func (listType) Reader(string) (func(data []byte, v *list) error, error) {
	return func(data []byte, v *list) error {
		v.Items = nil
		for len(data) > 0 {
			n, used := binary.Varint(data)
			if used <= 0 {
				return errors.New("truncated list")
			}
			v.Items = append(v.Items, n)
			data = data[used:]
		}
		return nil
	}, nil
}

func (l list) clone() list { return list{slices.Clone(l.Items)} }
