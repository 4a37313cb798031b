package row

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

// all is one field of every kind.
var all = []Field{
	{Name: "b", Type: Of(Bool)}, {Name: "i", Type: Of(Int)}, {Name: "l", Type: Of(Long)}, {Name: "f", Type: Of(Float)},
	{Name: "d", Type: Of(Double)}, {Name: "s", Type: Of(String)}, {Name: "y", Type: Of(Bytes)}, {Name: "t", Type: Of(Timestamp)},
	{Name: "list", Type: &Type{Kind: List, Elem: Of(Int)}, Optional: true},
	{Name: "map", Type: &Type{Kind: Map, Elem: Of(Long)}, Optional: true},
	{Name: "rec", Type: &Type{Kind: Record, Fields: []Field{{Name: "x", Type: Of(Int)}, {Name: "y", Type: Of(String), Optional: true}}}, Optional: true},
	{Name: "who", Type: Of(String), Optional: true, Wire: "who-it-was"},
}

func slotsOf(n int) []int {
	slots := make([]int, n)
	for i := range slots {
		slots[i] = i
	}
	return slots
}

const base = `"b":true,"i":-5,"l":9007199254740993,"f":1.5,"d":0.1,"s":"x","y":"AQI=","t":7`

func TestJSONRoundTrip(t *testing.T) {
	f := NewFrame(len(all))
	d, e := NewDecoder(all, slotsOf(len(all))), NewEncoder(all, slotsOf(len(all)))
	for in, want := range map[string]string{
		"{" + base + "}": "",
		"{" + base + `,"list":[1,2],"map":{"a":1,"b":2},"rec":{"x":1,"y":"z"},"who-it-was":"me"}`:            "",
		"{" + base + `,"list":[],"map":{},"rec":{"x":1}}`:                                                    "",
		"{" + base + `,"s":"last \"wins\" \u00e9\n","unknown":{"b":[1,{}]}}`:                                 "{" + strings.Replace(base, `"x"`, `"last \"wins\" é\n"`, 1) + "}",
		"{" + base + `,"map":{"b":1,"a":2,"b":3},"who-it-was":null}`:                                         "{" + base + `,"map":{"a":2,"b":3}}`,
		"{" + strings.Replace(base, `"t":7`, `"t":"1970-01-01T00:00:01.5Z"`, 1) + "}":                        "{" + strings.Replace(base, `"t":7`, `"t":1500`, 1) + "}",
		" {" + strings.Replace(base, `"s"`, `"\u0073"`, 1) + " } ":                                           "{" + base + "}",
		"{" + strings.Replace(base, `"l":9007199254740993`, `"l":-9223372036854775808`, 1) + `,"B":1,"I":2}`: "{" + strings.Replace(base, `"l":9007199254740993`, `"l":-9223372036854775808`, 1) + "}",
	} {
		if want == "" {
			want = in
		}
		if err := d.Decode([]byte(in), f); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got, err := e.Append(nil, f)
		if err != nil || string(got) != want {
			t.Errorf("%s\n got %s, %v\nwant %s", in, got, err, want)
		}
	}
}

func TestBadJSON(t *testing.T) {
	f := NewFrame(len(all))
	d := NewDecoder(all, slotsOf(len(all)))
	with := func(old, new string) string { return "{" + strings.Replace(base, old, new, 1) + "}" }
	for in, want := range map[string]error{
		"":                                    ErrNotJSON,
		"null":                                ErrMismatch,
		"[]":                                  ErrMismatch,
		"{":                                   ErrNotJSON,
		"{" + base + "} x":                    ErrNotJSON,
		"{" + base + "}{}":                    ErrNotJSON,
		"{" + base + `,"z":"` + "\xff" + `"}`: ErrNotJSON,
		"{" + base + `,"s":"` + "\xff" + `"}`: ErrNotJSON,
		with(`"i":-5,`, ``):                   ErrMissing,
		with(`"i":-5`, `"i":null`):            ErrNull,
		with(`"i":-5`, `"i":2147483648`):      ErrRange,
		with(`"i":-5`, `"i":1.0`):             ErrMismatch,
		with(`"i":-5`, `"i":"1"`):             ErrMismatch,
		with(`"i":-5`, `"I":1`):               ErrMissing,
		with("9007199254740993", "1e3"):       ErrMismatch,
		with("9007199254740993", "9223372036854775808"): ErrRange,
		with("1.5", "1e39"):                             ErrRange,
		with("0.1", "1e309"):                            ErrRange,
		with(`"AQI="`, `"???"`):                         ErrMismatch,
		with(`"t":7`, `"t":"today"`):                    ErrMismatch,
		with("true", "1"):                               ErrMismatch,
		"{" + base + `,"list":[1,null]}`:                ErrNull,
		"{" + base + `,"list":[2147483648]}`:            ErrRange,
		"{" + base + `,"map":{"a":"x"}}`:                ErrMismatch,
		"{" + base + `,"rec":{"y":"x"}}`:                ErrMissing,
		"{" + base + `,"rec":[]}`:                       ErrMismatch,
	} {
		if err := d.Decode([]byte(in), f); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", in, err, want)
		}
	}
	if err := d.Decode([]byte("{"+base+"}"), f); err != nil {
		t.Errorf("after all the bad ones: %v", err)
	}
}

func TestDoublesPrintAsEncodingJSONDoes(t *testing.T) {
	for _, v := range []float64{0, math.Copysign(0, -1), 1, 0.1, 1e20, 1e21, 1e-6, 1e-7, 123456789.125, math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53, -2.5e-9} {
		want, _ := json.Marshal(v)
		got, err := appendDouble(nil, v, 64)
		if err != nil || string(got) != string(want) {
			t.Errorf("%v: %s, %v, want %s", v, got, err, want)
		}
		if math.Abs(v) > math.MaxFloat32 {
			continue
		}
		want, _ = json.Marshal(float32(v))
		if got, _ = appendDouble(nil, float64(float32(v)), 32); string(got) != string(want) {
			t.Errorf("float %v: %s, want %s", v, got, want)
		}
	}
	if _, err := appendDouble(nil, math.NaN(), 64); !errors.Is(err, ErrRange) {
		t.Errorf("NaN: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	fields := []Field{{Name: "i", Type: Of(Int)}}
	f := NewFrame(1)
	e := NewEncoder(fields, []int{0})
	if _, err := e.Append(nil, f); !errors.Is(err, ErrNull) {
		t.Errorf("null: %v", err)
	}
	f.Slots[0].SetWhole(1 << 31)
	if _, err := e.Append(nil, f); !errors.Is(err, ErrRange) {
		t.Errorf("2^31: %v", err)
	}
}

func TestKeyText(t *testing.T) {
	f := NewFrame(1)
	s := &f.Slots[0]
	for want, set := range map[string]func() Kind{
		"-12":   func() Kind { s.SetWhole(-12); return Int },
		"true":  func() Kind { s.SetBool(true); return Bool },
		"a\x00": func() Kind { s.SetString("a\x00"); return Bytes },
	} {
		if got, err := AppendText(nil, set(), s); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", want, got, err)
		}
	}
	if _, err := AppendText(nil, Double, s); err == nil {
		t.Error("a double became a key")
	}
}

func TestScalarRecordsAllocateNothing(t *testing.T) {
	fields := all[:6]
	f := NewFrame(len(all))
	d, e := NewDecoder(fields, slotsOf(6)), NewEncoder(fields, slotsOf(6))
	in, out := []byte("{"+base+`,"s":"esc\naped"}`), make([]byte, 0, 256)
	n := testing.AllocsPerRun(1000, func() {
		if err := d.Decode(in, f); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Append(out, f); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per record", n)
	}
}

func BenchmarkDecodeAlarm(b *testing.B) {
	fields := []Field{{Name: "type", Type: Of(String)}, {Name: "room", Type: Of(Int)}, {Name: "time", Type: Of(Long)}}
	f := NewFrame(3)
	d := NewDecoder(fields, slotsOf(3))
	in := []byte(`{"type":"motion","room":17,"time":1700000000000}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(in, f); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("{" + base + "}"))
	f.Add([]byte("{" + base + `,"list":[1],"map":{"a":1},"rec":{"x":1}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		fr := NewFrame(len(all))
		if NewDecoder(all, slotsOf(len(all))).Decode(in, fr) != nil {
			return
		}
		out, err := NewEncoder(all, slotsOf(len(all))).Append(nil, fr)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		if !json.Valid(out) {
			t.Fatalf("no JSON: %s", out)
		}
		if err := NewDecoder(all, slotsOf(len(all))).Decode(out, fr); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
