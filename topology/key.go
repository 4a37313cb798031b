package topology

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strconv"
	"unsafe"
)

// Key is what records can be keyed by. As bytes a key is its text: whole
// numbers in decimal, true or false, strings and bytes as they are.
type Key interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~string | ~bool | ~[]byte
}

// CompositeKey is a key of several parts; see [Composite].
type CompositeKey string

// Composite makes one key of several texts: each as its length, 4 bytes
// big-endian, and the text. No two lists of parts have the same key.
func Composite(parts ...string) CompositeKey {
	var b []byte
	for _, p := range parts {
		b = AppendPart(b, p)
	}
	return CompositeKey(b)
}

// AppendPart appends one part of a composite key to dst, for code that reuses
// its memory.
func AppendPart[P ~string | ~[]byte](dst []byte, part P) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}

var errComposite = errors.New("procd/topology: not a composite key")

// Parts returns the parts of a composite key.
func (k CompositeKey) Parts() ([]string, error) {
	var parts []string
	for len(k) > 0 {
		if len(k) < 4 {
			return nil, errComposite
		}
		n := binary.BigEndian.Uint32([]byte(k[:4]))
		k = k[4:]
		if uint64(n) > uint64(len(k)) {
			return nil, errComposite
		}
		parts = append(parts, string(k[:n]))
		k = k[n:]
	}
	return parts, nil
}

// keyText returns the function that appends the text of a K to dst. Go has no
// switch over the kinds of a type parameter, so K's kind is looked up here,
// once per task, and the function reads the key through its memory: that is
// sound because the kind says what that memory holds.
func keyText[K Key]() func(dst []byte, k *K) []byte {
	switch reflect.TypeFor[K]().Kind() {
	case reflect.String:
		return func(dst []byte, k *K) []byte { return append(dst, *view[string](k)...) }
	case reflect.Slice:
		return func(dst []byte, k *K) []byte { return append(dst, *view[[]byte](k)...) }
	case reflect.Bool:
		return func(dst []byte, k *K) []byte { return strconv.AppendBool(dst, *view[bool](k)) }
	case reflect.Int:
		return signedText[K, int]()
	case reflect.Int8:
		return signedText[K, int8]()
	case reflect.Int16:
		return signedText[K, int16]()
	case reflect.Int32:
		return signedText[K, int32]()
	case reflect.Int64:
		return signedText[K, int64]()
	case reflect.Uint:
		return unsignedText[K, uint]()
	case reflect.Uint8:
		return unsignedText[K, uint8]()
	case reflect.Uint16:
		return unsignedText[K, uint16]()
	case reflect.Uint32:
		return unsignedText[K, uint32]()
	}
	return unsignedText[K, uint64]()
}

func signedText[K Key, I int | int8 | int16 | int32 | int64]() func([]byte, *K) []byte {
	return func(dst []byte, k *K) []byte { return strconv.AppendInt(dst, int64(*view[I](k)), 10) }
}

func unsignedText[K Key, U uint | uint8 | uint16 | uint32 | uint64]() func([]byte, *K) []byte {
	return func(dst []byte, k *K) []byte { return strconv.AppendUint(dst, uint64(*view[U](k)), 10) }
}

// view reads a K as its underlying type V.
func view[V, K any](k *K) *V { return (*V)(unsafe.Pointer(k)) }

// keyType names what the keys of a K look like, for [StoreSpec.KeyType].
// Integers of all sizes have the same text, so they are one type.
func keyType[K Key]() string {
	t := reflect.TypeFor[K]()
	switch t.Kind() {
	case reflect.String:
		if t == reflect.TypeFor[CompositeKey]() {
			return "composite"
		}
		return "string"
	case reflect.Slice:
		return "bytes"
	case reflect.Bool:
		return "bool"
	}
	return "int"
}
