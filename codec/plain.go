package codec

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// String takes a value as text, as it is.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) ForTask() Codec[string] { return &slabString{} }

func (stringCodec) Append(dst []byte, v *string) ([]byte, error) { return append(dst, *v...), nil }

func (stringCodec) Decode(data []byte, v *string) error {
	*v = string(data)
	return nil
}

// slabString is a task's.
type slabString struct {
	stringCodec
	slab slab
}

func (c *slabString) Decode(data []byte, v *string) error {
	*v = c.slab.text(data)
	return nil
}

// Bytes takes a value as it is.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) ForTask() Codec[[]byte] { return &slabBytes{} }

func (bytesCodec) Append(dst []byte, v *[]byte) ([]byte, error) { return append(dst, *v...), nil }

func (bytesCodec) Decode(data []byte, v *[]byte) error {
	*v = append(make([]byte, 0, len(data)), data...)
	return nil
}

// slabBytes is a task's.
type slabBytes struct {
	bytesCodec
	slab slab
}

func (c *slabBytes) Decode(data []byte, v *[]byte) error {
	*v = c.slab.keep(data)
	return nil
}

// slab copies values into blocks, so that most need no allocation of their own.
// A value that is kept keeps its block, and with it up to slabSize bytes: a
// small multiple of a usual record.
type slab struct{ free []byte }

const slabSize = 4 << 10

func (s *slab) keep(data []byte) []byte {
	if len(data) > slabSize/4 {
		return append(make([]byte, 0, len(data)), data...)
	}
	if len(data) >= len(s.free) {
		s.free = make([]byte, slabSize)
	}
	kept := s.free[:len(data):len(data)] // appending to it copies it
	s.free = s.free[len(data):]
	copy(kept, data)
	return kept
}

// text is keep for a text.
func (s *slab) text(data []byte) string {
	kept := s.keep(data)
	return unsafe.String(unsafe.SliceData(kept), len(kept)) // nobody else has these bytes
}

// Int64 is 8 bytes big-endian, as Java's LongSerializer writes.
func Int64() Codec[int64] { return int64Codec{} }

type int64Codec struct{}

func (int64Codec) Append(dst []byte, v *int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(*v)), nil
}

func (int64Codec) Decode(data []byte, v *int64) error {
	if len(data) != 8 {
		return fmt.Errorf("%w: an int64 has 8 bytes, these are %d", ErrLength, len(data))
	}
	*v = int64(binary.BigEndian.Uint64(data))
	return nil
}
