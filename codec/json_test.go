package codec_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/procd/procd/codec"
)

type reading struct {
	Type  string         `json:"type"`
	Room  int32          `json:"room"`
	Time  int64          `json:"time"`
	Ratio float64        `json:"ratio"`
	OK    bool           `json:"ok"`
	Who   *string        `json:"who"`
	Tags  []string       `json:"tags"`
	Inner place          `json:"inner"`
	More  map[string]int `json:"more"`
}

type place struct {
	X int `json:"x"`
	Y int `json:"y"`
}

// Where version 1 and 2 of Go's JSON mean the same, so do we.
func TestJSONAgreesWithEncodingJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := codec.JSON[reading]()
	accepted := 0
	for range 20_000 {
		text := randomObject(rng)
		var want, got reading
		wantErr := json.Unmarshal([]byte(text), &want)
		gotErr := c.Decode([]byte(text), &got)
		if (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("%s: %v, encoding/json: %v", text, gotErr, wantErr)
		}
		if wantErr != nil {
			continue
		}
		accepted++
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v, encoding/json: %+v", text, got, want)
		}
		out, err := c.Append([]byte("before"), &got)
		if err != nil || !strings.HasPrefix(string(out), "before{") {
			t.Fatalf("%s: append: %s, %v", text, out, err)
		}
		want, got = reading{}, reading{}
		if err := json.Unmarshal(out[len("before"):], &want); err != nil {
			t.Fatalf("%s: encoding/json cannot read %s: %v", text, out, err)
		}
		if err := c.Decode(out[len("before"):], &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: wrote %s, read %+v, %v", text, out, got, err)
		}
	}
	if accepted < 5000 {
		t.Fatalf("only %d of the texts were valid", accepted)
	}
}

// randomObject writes an object whose names come at most once, mostly of the
// right types.
func randomObject(rng *rand.Rand) string {
	values := map[string][]string{
		"type":    {`"motion"`, `"a\u00e9\n\ud83d\ude00"`, `""`, `null`, `"<&>"`, `7`},
		"room":    {`0`, `-7`, `2147483647`, `2147483648`, `1.5`, `1e3`, `null`, `"3"`},
		"time":    {`9007199254740993`, `-1`, `9223372036854775807`, `9223372036854775808`, `null`},
		"ratio":   {`0.1`, `-1e-7`, `1E400`, `5`, `null`},
		"ok":      {`true`, `false`, `null`, `0`},
		"who":     {`null`, `"bob"`},
		"tags":    {`[]`, `["a","b"]`, `[null]`, `{}`},
		"inner":   {`{}`, `{"x":1}`, `{"x":1,"y":-2,"z":[{"q":{}}]}`, `[]`},
		"more":    {`{}`, `{"b":1,"a":2}`, `null`},
		"unknown": {`{"a":[1,2,{"b":null}]}`, `"x"`, `-0`},
	}
	names := []string{"type", "room", "time", "ratio", "ok", "who", "tags", "inner", "more", "unknown"}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var parts []string
	for _, n := range names[:rng.IntN(5)] {
		v := values[n]
		parts = append(parts, fmt.Sprintf(" %q : %s", n, v[rng.IntN(len(v))]))
	}
	return "{" + strings.Join(parts, ",") + " }"
}

func TestJSONLastDuplicateWins(t *testing.T) {
	c := codec.JSON[reading]()
	for _, test := range []struct {
		text string
		want reading
	}{
		{`{"type":"a","type":"b"}`, reading{Type: "b"}},
		{`{"type":"a","room":3,"type":"b","room":4,"type":"c"}`, reading{Type: "c", Room: 4}},
		{`{"type":"a","\u0074ype":"b"}`, reading{Type: "b"}},
		{`{"inner":{"x":1},"inner":{"y":2}}`, reading{Inner: place{Y: 2}}},
		{`{"inner":{"x":1,"x":5,"y":6}}`, reading{Inner: place{X: 5, Y: 6}}},
		{`{"inner":{"x":1,"x":5},"room":1,"inner":{"y":1,"y":2} , "room" : 9 }`, reading{Inner: place{Y: 2}, Room: 9}},
		{`{"more":{"a":1,"b":2,"a":3}}`, reading{More: map[string]int{"a": 3, "b": 2}}},
		{`{"more":{"a":1},"more":{"b":2}}`, reading{More: map[string]int{"b": 2}}},
		{`{"tags":["a","b"],"tags":["c"]}`, reading{Tags: []string{"c"}}},
		{`{"room":1,"unknown":{"p":1,"p":[{"q":1,"q":2}]},"unknown":2}`, reading{Room: 1}},
		{`{"type":"room","room":1,"ok":true,"ok":false}`, reading{Type: "room", Room: 1}},
		{`{"type":7,"type":"b"}`, reading{Type: "b"}},
		{`{"type":{"type":1,"x":[]},"type":"b","tags":["type","type"]}`, reading{Type: "b", Tags: []string{"type", "type"}}},
	} {
		got := reading{Who: new(string), Ratio: 1}
		if err := c.Decode([]byte(test.text), &got); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v; want %+v", test.text, got, err, test.want)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	c := codec.JSON[reading]()
	for _, text := range []string{
		``, ` `, `{`, `{"type":"a"} x`, `{"type":"a"}{}`, "{\"type\":\"a\xff\"}", `{"type":"\ud800"}`,
		`{"type":"a",}`, `{'type':"a"}`, `{"room":"1"}`, `[]`, `nul`, "\xef\xbb\xbf{}", `{"room":1,"room":"x"}`,
		`{"room":1,"room":2} x`, "{\"room\":1,\"room\":2,\"a\":\"\xff\"}", `{"room":1,"room":2`,
	} {
		var v reading
		if err := c.Decode([]byte(text), &v); err == nil {
			t.Errorf("%q: accepted as %+v", text, v)
		}
	}
	var v reading
	if err := c.Decode([]byte(`{"Type":"a","TYPE":"b"}`), &v); err != nil || v.Type != "" {
		t.Errorf("names are case-sensitive: %+v, %v", v, err)
	}
	bad := reading{Type: "\xff"}
	if out, err := c.Append([]byte("x"), &bad); err == nil || string(out) != "x" {
		t.Errorf("invalid UTF-8 was written: %q, %v", out, err)
	}
	good := reading{Type: "a"}
	if out, err := c.Append(nil, &good); err != nil || !json.Valid(out) {
		t.Errorf("after an error: %q, %v", out, err)
	}
}

// A value that was handed on must not change with the next record.
func TestJSONSharesNothing(t *testing.T) {
	c := codec.JSON[reading]()
	var v reading
	if err := c.Decode([]byte(`{"tags":["a","b"],"more":{"x":1},"who":"me"}`), &v); err != nil {
		t.Fatal(err)
	}
	kept := v
	if err := c.Decode([]byte(`{"tags":["c"],"more":{"y":1},"who":"you"}`), &v); err != nil {
		t.Fatal(err)
	}
	if kept.Tags[0] != "a" || len(kept.More) != 1 || kept.More["x"] != 1 || *kept.Who != "me" {
		t.Errorf("the first value became %+v", kept)
	}
}

func TestJSONMapOrder(t *testing.T) {
	c := codec.JSON[map[string]int]()
	v := map[string]int{"b": 1, "a": 2, "d": 3, "c": 4}
	for range 20 {
		if out, err := c.Append(nil, &v); err != nil || string(out) != `{"a":2,"b":1,"c":4,"d":3}` {
			t.Fatalf("%s, %v", out, err)
		}
	}
}

func TestJSONAllocatesNothing(t *testing.T) {
	type event struct {
		Type  string  `json:"type"`
		Room  int     `json:"room"`
		Time  int64   `json:"time"`
		Ratio float64 `json:"ratio,omitzero"`
		At    place   `json:"at"`
	}
	c := codec.JSON[event]().(codec.PerTask[event]).ForTask()
	data, buf, v := []byte(`{"type":"mo\u0074ion","room":7,"time":1790000000000,"ratio":0.5,"at":{"x":1},"more":"x"}`), make([]byte, 0, 100), event{}
	if n := testing.AllocsPerRun(1000, func() {
		if err := c.Decode(data, &v); err != nil {
			t.Fatal(err)
		}
		buf, _ = c.Append(buf[:0], &v)
	}); n != 0 && !raced {
		t.Errorf("%v allocations per record", n)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"type":"a","inner":{"x":1,"x":2},"inner":{}}`))
	f.Add([]byte(`{"more":{"":1,"":{}},"more":[[{"a":1,"a":2}]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := codec.JSON[reading]()
		var v, again reading
		if c.Decode(data, &v) != nil {
			return
		}
		out, err := c.Append(nil, &v)
		if err != nil {
			t.Fatalf("%q decodes to %+v, which does not encode: %v", data, v, err)
		}
		if err := c.Decode(out, &again); err != nil {
			t.Fatalf("%q became %q, which does not decode: %v", data, out, err)
		}
		if twice, err := c.Append(nil, &again); err != nil || string(twice) != string(out) {
			t.Fatalf("%q, then %q, %v", out, twice, err)
		}
	})
}
