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

// A task's copies cut values from blocks: none of them changes with the next
// ones, or by an append to its neighbour.
func TestPlainForTask(t *testing.T) {
	texts := codec.String().(codec.PerTask[string]).ForTask()
	slices := codec.Bytes().(codec.PerTask[[]byte]).ForTask()
	var wants, strings []string
	var kept [][]byte
	for i := range 2000 {
		want := bytes.Repeat([]byte{byte(i)}, i*i%1500)
		wants = append(wants, string(want))
		var s string
		var b []byte
		if err := errors.Join(texts.Decode(want, &s), slices.Decode(want, &b)); err != nil || b == nil {
			t.Fatal(b, err)
		}
		strings, kept = append(strings, s), append(kept, b)
		clear(want)
	}
	for _, b := range kept {
		_ = append(b, "overwritten?"...)
	}
	for i, want := range wants {
		if strings[i] != want || string(kept[i]) != want {
			t.Fatalf("value %d has changed: %q, %q, was %q", i, strings[i], kept[i], want)
		}
	}
	if raced {
		return
	}
	value, into := bytes.Repeat([]byte("v"), 100), []byte(nil)
	if n := testing.AllocsPerRun(4000, func() { _ = slices.Decode(value, &into) }); n != 0 {
		t.Errorf("%v allocations per value", n)
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
