package codec

import (
	"math"
	"reflect"
	"strconv"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
)

// plainJSON decodes and encodes values of plain kinds in usual texts. Of all
// else, be it an error, a duplicate name or a rare form, it says that it cannot;
// then the library does the whole text or value anew, so that there is one
// authority on what is right, and one source of errors.
type plainJSON struct {
	slab    slab // of the strings
	scratch []byte
	encoder libraryJSON
}

// decode overwrites what is at p, which must be zero. It is false, and p
// anything, if the text is for the library.
func (j *plainJSON) decode(s *shape, p unsafe.Pointer, data []byte) bool {
	at := j.value(s, p, data, jsonbytes.Space(data, 0), jsonbytes.MaxDepth)
	return at >= 0 && jsonbytes.Space(data, at) == len(data)
}

// value reads the value at a place and returns the place behind it, or -1.
func (j *plainJSON) value(s *shape, p unsafe.Pointer, data []byte, at, depth int) int {
	if jsonbytes.Kind(data, at) == 'n' && s.kind != reflect.Invalid {
		return jsonbytes.Literal(data, at) // zero, which p is
	}
	switch s.kind {
	case reflect.Struct:
		return j.object(s, p, data, at, depth)
	case reflect.Pointer:
		to := reflect.New(s.elem.typ).UnsafePointer()
		*(*unsafe.Pointer)(p) = to
		return j.value(s.elem, to, data, at, depth)
	case reflect.String:
		return j.text((*string)(p), data, at)
	case reflect.Bool:
		*(*bool)(p) = jsonbytes.Kind(data, at) == 't'
		if *(*bool)(p) || jsonbytes.Kind(data, at) == 'f' {
			return jsonbytes.Literal(data, at)
		}
		return -1
	case reflect.Float32, reflect.Float64:
		return decodeFloat(s.kind, p, data, at)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return decodeUint(s.kind, p, data, at)
	case reflect.Invalid:
		return decodeLibrary(s, p, data, at, depth)
	}
	return decodeInt(s.kind, p, data, at)
}

func (j *plainJSON) object(s *shape, p unsafe.Pointer, data []byte, at, depth int) int {
	if jsonbytes.Kind(data, at) != '{' || depth == 0 {
		return -1
	}
	var seen uint64
	at, more := jsonbytes.Begin(data, at, '}')
	for more {
		name, plain, value := jsonbytes.Name(data, at)
		if value < 0 || !plain {
			return -1
		}
		if i := s.names.Find(name[1 : len(name)-1]); i < 0 {
			at = jsonbytes.Value(data, value, depth-1)
		} else {
			if seen&(1<<i) != 0 {
				return -1
			}
			seen |= 1 << i
			m := &s.members[i]
			at = j.value(m.shape, unsafe.Add(p, m.offset), data, value, depth-1)
		}
		at, more = jsonbytes.Next(data, at, '}')
	}
	return at
}

func (j *plainJSON) text(p *string, data []byte, at int) int {
	end, plain := jsonbytes.String(data, at)
	if end < 0 {
		return -1
	}
	inner := data[at+1 : end-1]
	if !plain {
		var err error
		if j.scratch, err = jsontext.AppendUnquote(j.scratch[:0], data[at:end]); err != nil {
			return -1
		}
		inner = j.scratch
	}
	*p = j.slab.text(inner)
	return end
}

func decodeFloat(k reflect.Kind, p unsafe.Pointer, data []byte, at int) int {
	end := jsonbytes.Number(data, at)
	if end < 0 {
		return -1
	}
	number := unsafe.String(&data[at], end-at)
	if k == reflect.Float32 {
		v, err := strconv.ParseFloat(number, 32)
		*(*float32)(p) = float32(v)
		return ifNil(err, end)
	}
	v, err := strconv.ParseFloat(number, 64)
	*(*float64)(p) = v
	return ifNil(err, end)
}

func ifNil(err error, end int) int {
	if err != nil {
		return -1
	}
	return end
}

func decodeInt(k reflect.Kind, p unsafe.Pointer, data []byte, at int) int {
	n, end := jsonbytes.Whole(data, at)
	fits := true
	switch k {
	case reflect.Int64:
		*(*int64)(p) = n
	case reflect.Int:
		*(*int)(p), fits = int(n), int64(int(n)) == n
	case reflect.Int32:
		*(*int32)(p), fits = int32(n), int64(int32(n)) == n
	case reflect.Int16:
		*(*int16)(p), fits = int16(n), int64(int16(n)) == n
	case reflect.Int8:
		*(*int8)(p), fits = int8(n), int64(int8(n)) == n
	}
	if !fits {
		return -1
	}
	return end
}

func decodeUint(k reflect.Kind, p unsafe.Pointer, data []byte, at int) int {
	n, end := jsonbytes.Natural(data, at)
	fits := true
	switch k {
	case reflect.Uint64:
		*(*uint64)(p) = n
	case reflect.Uint:
		*(*uint)(p), fits = uint(n), uint64(uint(n)) == n
	case reflect.Uint32:
		*(*uint32)(p), fits = uint32(n), uint64(uint32(n)) == n
	case reflect.Uint16:
		*(*uint16)(p), fits = uint16(n), uint64(uint16(n)) == n
	case reflect.Uint8:
		*(*uint8)(p), fits = uint8(n), uint64(uint8(n)) == n
	}
	if !fits {
		return -1
	}
	return end
}

// decodeLibrary lets the library decode one value.
func decodeLibrary(s *shape, p unsafe.Pointer, data []byte, at, depth int) int {
	end := jsonbytes.Value(data, at, depth)
	if end < 0 || json.Unmarshal(data[at:end], reflect.NewAt(s.typ, p).Interface()) != nil {
		return -1
	}
	return end
}

// maxPlain is how deep a value is encoded here: one that points to itself has
// no end.
const maxPlain = 100

// append appends what is at p. It is not ok if the value is for the library.
func (j *plainJSON) append(dst []byte, s *shape, p unsafe.Pointer, depth int) (out []byte, ok bool) {
	if depth > maxPlain {
		return dst, false
	}
	switch s.kind {
	case reflect.Struct:
		return j.appendObject(dst, s, p, depth)
	case reflect.Pointer:
		if to := *(*unsafe.Pointer)(p); to != nil {
			return j.append(dst, s.elem, to, depth+1)
		}
		return append(dst, "null"...), true
	case reflect.String:
		return appendText(dst, *(*string)(p))
	case reflect.Bool:
		return strconv.AppendBool(dst, *(*bool)(p)), true
	case reflect.Float32:
		return appendFloat(dst, float64(*(*float32)(p)), 32)
	case reflect.Float64:
		return appendFloat(dst, *(*float64)(p), 64)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(dst, uintAt(s.kind, p), 10), true
	case reflect.Invalid:
		return j.appendLibrary(dst, s, p, depth)
	}
	return strconv.AppendInt(dst, intAt(s.kind, p), 10), true
}

func (j *plainJSON) appendObject(dst []byte, s *shape, p unsafe.Pointer, depth int) (out []byte, ok bool) {
	if !s.encodes {
		return j.appendLibrary(dst, s, p, depth)
	}
	dst = append(dst, '{')
	start := len(dst)
	for i := range s.members {
		m := &s.members[i]
		at := unsafe.Add(p, m.offset)
		if m.zero && m.isZeroAt(at) {
			continue
		}
		before := len(dst)
		if before > start {
			dst = append(dst, ',')
		}
		dst = append(dst, m.name...)
		value := len(dst)
		if dst, ok = j.append(dst, m.shape, at, depth+1); !ok {
			return dst, false
		}
		if m.empty && isEmpty(dst[value:]) {
			dst = dst[:before]
		}
	}
	return append(dst, '}'), true
}

func (m *member) isZeroAt(p unsafe.Pointer) bool {
	v := reflect.NewAt(m.shape.typ, p)
	if m.isZero {
		return v.Interface().(interface{ IsZero() bool }).IsZero()
	}
	return v.Elem().IsZero()
}

func isEmpty(value []byte) bool {
	switch string(value) {
	case `null`, `""`, `{}`, `[]`:
		return true
	}
	return false
}

func appendText(dst []byte, s string) (out []byte, ok bool) {
	out, err := jsonbytes.AppendString(dst, s)
	return out, err == nil
}

func appendFloat(dst []byte, v float64, bits int) (out []byte, ok bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, false
	}
	return jsontext.AppendFloat(dst, v, bits), true
}

func intAt(k reflect.Kind, p unsafe.Pointer) int64 {
	switch k {
	case reflect.Int64:
		return *(*int64)(p)
	case reflect.Int32:
		return int64(*(*int32)(p))
	case reflect.Int16:
		return int64(*(*int16)(p))
	case reflect.Int8:
		return int64(*(*int8)(p))
	}
	return int64(*(*int)(p))
}

func uintAt(k reflect.Kind, p unsafe.Pointer) uint64 {
	switch k {
	case reflect.Uint64:
		return *(*uint64)(p)
	case reflect.Uint32:
		return uint64(*(*uint32)(p))
	case reflect.Uint16:
		return uint64(*(*uint16)(p))
	case reflect.Uint8:
		return uint64(*(*uint8)(p))
	}
	return uint64(*(*uint)(p))
}

// appendLibrary lets the library encode one value, which must be no deeper
// than what is around it allows.
func (j *plainJSON) appendLibrary(dst []byte, s *shape, p unsafe.Pointer, depth int) (out []byte, ok bool) {
	out, err := j.encoder.append(dst, reflect.NewAt(s.typ, p).Interface())
	if err != nil {
		return dst, false
	}
	deep := len(out)-len(dst) > jsonbytes.MaxDepth // or it cannot be
	return out, !deep || jsonbytes.Value(out, len(dst), jsonbytes.MaxDepth-depth) >= 0
}
