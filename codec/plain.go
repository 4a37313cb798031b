package codec

import (
	"encoding/binary"
	"fmt"
)

// String takes a value as text, as it is.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v *string) ([]byte, error) { return append(dst, *v...), nil }

func (stringCodec) Decode(data []byte, v *string) error {
	*v = string(data)
	return nil
}

// Bytes takes a value as it is.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Append(dst []byte, v *[]byte) ([]byte, error) { return append(dst, *v...), nil }

func (bytesCodec) Decode(data []byte, v *[]byte) error {
	*v = append(make([]byte, 0, len(data)), data...)
	return nil
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
