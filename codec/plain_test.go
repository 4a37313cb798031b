package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/procd/procd/codec"
)

func TestPlain(t *testing.T) {
	data := []byte("text")
	var s string
	if err := codec.String().Decode(data, &s); err != nil || s != "text" {
		t.Errorf("%q, %v", s, err)
	}
	var b []byte
	if err := codec.Bytes().Decode(data, &b); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	before := b
	if err := codec.Bytes().Decode([]byte("more"), &b); err != nil {
		t.Error(err)
	}
	data[0] = 'T'
	if s != "text" || string(before) != "text" {
		t.Errorf("values share memory with their bytes: %q, %q", s, before)
	}
	if err := codec.Bytes().Decode([]byte{}, &b); err != nil || b == nil || len(b) != 0 {
		t.Errorf("empty: %v, %v", b, err)
	}
	if out, err := codec.String().Append([]byte("a"), &s); err != nil || string(out) != "atext" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := codec.Bytes().Append([]byte("a"), &before); err != nil || string(out) != "atext" {
		t.Errorf("%q, %v", out, err)
	}
}

// The bytes are those of org.apache.kafka.common.serialization.LongSerializer.
func TestInt64(t *testing.T) {
	for v, want := range map[int64][]byte{
		1:  {0, 0, 0, 0, 0, 0, 0, 1},
		-2: {255, 255, 255, 255, 255, 255, 255, 254},
	} {
		out, err := codec.Int64().Append([]byte{7}, &v)
		if err != nil || !bytes.Equal(out[1:], want) {
			t.Errorf("%d: %v, %v", v, out, err)
		}
		var back int64
		if err := codec.Int64().Decode(want, &back); err != nil || back != v {
			t.Errorf("%v: %d, %v", want, back, err)
		}
	}
	var v int64
	for _, n := range []int{0, 7, 9} {
		if err := codec.Int64().Decode(make([]byte, n), &v); !errors.Is(err, codec.ErrLength) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
