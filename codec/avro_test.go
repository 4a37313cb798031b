package codec_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro"

	"github.com/procd/procd/codec"
)

type door struct {
	Open  bool
	Since int64
}

type room struct {
	Name   string `avro:"name"`
	Small  int8
	Int    int32
	Long   int
	Whole  uint32
	Float  float32
	Double float64
	Raw    []byte
	ID     [4]byte
	Main   door
	Doors  []door
	Levels [3]int16
	Names  map[string]string
	Who    *string
	Gap    time.Duration
	Seen   time.Time
}

func randomRoom(rng *rand.Rand) room {
	edges := []int64{0, 1, -1, 63, -64, 64, math.MaxInt64, math.MinInt64}
	r := room{
		Name: strings.Repeat("é", rng.IntN(3)), Small: int8(rng.Int32()), Int: int32(rng.Uint32()),
		Long: int(edges[rng.IntN(len(edges))]), Whole: rng.Uint32(), Float: rng.Float32(), Double: rng.NormFloat64(),
		Raw: []byte{byte(rng.Int32())}[:rng.IntN(2)], Main: door{rng.IntN(2) == 0, rng.Int64()},
		Doors: []door{{true, 1}, {false, edges[rng.IntN(len(edges))]}}[:rng.IntN(3)],
		Names: map[string]string{"a": "1"}, Gap: time.Duration(edges[rng.IntN(len(edges))]),
		Seen: time.UnixMilli(rng.Int64N(1 << 42)).UTC(),
	}
	for i := range r.ID {
		r.ID[i] = byte(rng.Int32())
	}
	if rng.IntN(2) == 0 {
		s := "w"
		r.Who = &s
	}
	return r
}

// native is a room as goavro has it.
func (r room) native() map[string]any {
	m := map[string]any{
		"name": r.Name, "Small": int32(r.Small), "Int": r.Int, "Long": int64(r.Long), "Whole": int64(r.Whole),
		"Float": r.Float, "Double": r.Double, "Raw": r.Raw, "ID": r.ID[:], "Main": r.Main.native(),
		"Names": map[string]any{"a": "1"}, "Gap": int64(r.Gap), "Seen": r.Seen, "Who": nil,
		"Levels": []any{int32(r.Levels[0]), int32(r.Levels[1]), int32(r.Levels[2])},
	}
	doors := []any{}
	for _, d := range r.Doors {
		doors = append(doors, d.native())
	}
	m["Doors"] = doors
	if r.Who != nil {
		m["Who"] = goavro.Union("string", *r.Who)
	}
	return m
}

func (d door) native() map[string]any { return map[string]any{"Open": d.Open, "Since": d.Since} }

// Every byte of state is what another Avro implementation writes and reads.
func TestStateIsAvro(t *testing.T) {
	st := codec.State[room]()
	if err := st.Check(); err != nil {
		t.Fatal(err)
	}
	oracle, err := goavro.NewCodec(st.Schema())
	if err != nil {
		t.Fatal(err)
	}
	read, err := st.Reader(st.Schema())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		r := randomRoom(rng)
		data, err := st.Append([]byte{9}, &r)
		if err != nil || data[0] != 9 {
			t.Fatalf("%+v: %v", r, err)
		}
		data = data[1:]
		want, err := oracle.BinaryFromNative(nil, r.native())
		if err != nil {
			t.Fatal(err)
		}
		native, rest, err := oracle.NativeFromBinary(data)
		if err != nil || len(rest) > 0 || !reflect.DeepEqual(native, any(r.native())) {
			t.Fatalf("goavro reads %v, %v, %v; want %v", native, rest, err, r.native())
		}
		if !bytes.Equal(data, want) {
			t.Fatalf("%x, goavro writes %x", data, want)
		}
		var back room
		if err := read(want, &back); err != nil || !sameRoom(back, r) {
			t.Fatalf("read back %+v, %v; want %+v", back, err, r)
		}
	}
}

// sameRoom compares what Avro can tell apart: empty and nil are the same.
func sameRoom(a, b room) bool {
	for _, r := range []*room{&a, &b} {
		if len(r.Raw) == 0 {
			r.Raw = nil
		}
		if len(r.Doors) == 0 {
			r.Doors = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

func TestStateScalars(t *testing.T) {
	checkScalar(t, int64(-5), `"long"`)
	checkScalar(t, int(7), `"long"`)
	checkScalar(t, int32(7), `"int"`)
	checkScalar(t, uint8(200), `"int"`)
	checkScalar(t, "text", `"string"`)
	checkScalar(t, true, `"boolean"`)
	checkScalar(t, 1.5, `"double"`)
	checkScalar(t, time.Duration(math.MaxInt64), `"long"`)
	checkScalar(t, []string{"a", "b"}, `{"items":"string","type":"array"}`)
	checkScalar(t, map[string]int64{"a": 1}, `{"type":"map","values":"long"}`)
	checkScalar(t, []door{{true, 1}}, ``)
	checkScalar(t, door{true, 1}, `{"fields":[{"name":"Open","type":"boolean"},{"name":"Since","type":"long"}],"name":"state","type":"record"}`)
}

func checkScalar[S any](t *testing.T, v S, schema string) {
	t.Helper()
	st := codec.State[S]()
	if err := st.Check(); err != nil {
		t.Errorf("%T: %v", v, err)
		return
	}
	if schema != "" && st.Schema() != schema {
		t.Errorf("%T: schema %s, want %s", v, st.Schema(), schema)
	}
	data, err := st.Append(nil, &v)
	if err != nil {
		t.Errorf("%T: %v", v, err)
	}
	if _, err := goavro.NewCodec(st.Schema()); err != nil {
		t.Errorf("%T: goavro: %v", v, err)
	}
	read, err := st.Reader(st.Schema())
	if err != nil {
		t.Errorf("%T: %v", v, err)
		return
	}
	var back S
	if err := read(data, &back); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%T: read back %v, %v; want %v", v, back, err, v)
	}
	if err := read(append(data, 0), &back); !errors.Is(err, codec.ErrLength) {
		t.Errorf("%T: a byte too many: %v", v, err)
	}
	for n := range data {
		if err := read(data[:n], &back); err == nil {
			t.Errorf("%T: %d of %d bytes were enough", v, n, len(data))
		}
	}
}

type hidden struct {
	Active bool
	since  int64
}

type skipped struct {
	Active bool
	Since  int64 `avro:"-"`
}

type defaulted struct {
	N int64 `avro:"n,omitzero,default=5"`
}

type loop struct {
	Next *loop
	V    int64
}

type base struct{ A int64 }

type embedding struct {
	base
	B int64
}

func TestStateRefusesWhatItWouldLose(t *testing.T) {
	_ = hidden{}.since // read nowhere else
	for _, test := range []struct {
		err  error
		want string // empty: fine
	}{
		{codec.State[hidden]().Check(), "codec_test.hidden.since is not exported"},
		{codec.State[[]hidden]().Check(), "since is not exported"},
		{codec.State[map[string]*hidden]().Check(), "since is not exported"},
		{codec.State[skipped]().Check(), `tag avro:"-"`},
		{codec.State[defaulted]().Check(), "omitzero"},
		{codec.State[chan int]().Check(), "chan int has no Avro schema"},
		{codec.State[any]().Check(), "no Avro schema"},
		{codec.State[map[int]int]().Check(), "map key must be string"},
		{codec.State[struct{ F func() }]().Check(), "no Avro schema"},
		{codec.State[struct{ T strings.Builder }]().Check(), "not exported"},
		{codec.State[loop]().Check(), ""},
		{codec.State[embedding]().Check(), ""},
		{codec.State[time.Time]().Check(), ""},
	} {
		switch {
		case test.want == "" && test.err != nil:
			t.Errorf("refused: %v", test.err)
		case test.want != "" && (test.err == nil || !errors.Is(test.err, codec.ErrType) || !strings.Contains(test.err.Error(), test.want)):
			t.Errorf("%v; want %q", test.err, test.want)
		}
	}
}

func TestStateCopy(t *testing.T) {
	type mixed struct {
		door
		Name string
		N    [2]int64
	}
	src, dst := mixed{door{true, 5}, "x", [2]int64{1, 2}}, mixed{}
	if !codec.State[mixed]().Copy(&dst, &src) || dst != src {
		t.Errorf("copied as %+v", dst)
	}
	r, into := room{Name: "x"}, room{}
	if codec.State[room]().Copy(&into, &r) || into.Name != "" {
		t.Error("a type with slices was copied by assignment")
	}
	type lists struct{ L [2][]string }
	if codec.State[lists]().Copy(new(lists), &lists{}) {
		t.Error("an array of slices was copied by assignment")
	}
	p, q := new(int), new(int)
	if codec.State[*int]().Copy(&p, &q) || codec.State[[]int]().Copy(new([]int), new([]int)) || codec.State[map[string]int]().Copy(new(map[string]int), new(map[string]int)) {
		t.Error("a pointer was copied by assignment")
	}
}

// TestStateOmitzero: a field that may be missing is what it is in YAML's states.
func TestStateOmitzero(t *testing.T) {
	type armed struct {
		Active bool   `avro:"active,omitzero"`
		Since  int64  `avro:",omitzero"`
		Motion *int64 `avro:",omitzero"`
		Plain  int64
	}
	const schema = `{"type":"record","name":"state","fields":[{"name":"active","type":["null","boolean"],"default":null},` +
		`{"name":"Since","type":["null","long"],"default":null},{"name":"Motion","type":["null","long"],"default":null},{"name":"Plain","type":"long"}]}`
	st := codec.State[armed]()
	if err := st.Check(); err != nil {
		t.Fatal(err)
	}
	if got, want := avro.MustParse(st.Schema()).Root(), avro.MustParse(schema).Root(); !reflect.DeepEqual(got.Fields, want.Fields) {
		t.Errorf("schema %s, want %s", st.Schema(), schema)
	}
	for _, test := range []struct {
		v    armed
		want []byte
	}{
		{armed{}, []byte{0, 0, 0, 0}},
		{armed{Active: true, Since: 7, Plain: 1}, []byte{2, 1, 2, 14, 0, 2}},
	} {
		data, err := st.Append(nil, &test.v)
		if err != nil || !bytes.Equal(data, test.want) {
			t.Errorf("%+v is %v, %v; want %v", test.v, data, err, test.want)
		}
		read, err := st.Reader(schema)
		if err != nil {
			t.Fatal(err)
		}
		back := armed{Active: true, Since: 9}
		if err := read(data, &back); err != nil || back != test.v {
			t.Errorf("%+v comes back as %+v, %v", test.v, back, err)
		}
	}
	read, err := st.Reader(`{"type":"record","name":"state","fields":[{"name":"Plain","type":"long"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	var old armed
	if err := read([]byte{6}, &old); err != nil || old != (armed{Plain: 3}) {
		t.Errorf("without the fields: %+v, %v", old, err)
	}
}

// Types change by Avro's resolution rules, also between int and long durations.
func TestStateReadsOlderSchemas(t *testing.T) {
	type v2 struct {
		Since int64
		Open  bool
		Who   string `avro:"who,alias=name,default=nobody"`
		Wait  *int64
	}
	st := codec.State[v2]()
	old := codec.State[door]()
	data, err := old.Append(nil, &door{true, 7})
	if err != nil {
		t.Fatal(err)
	}
	read, err := st.Reader(old.Schema())
	if err != nil {
		t.Fatal(err)
	}
	wait := int64(1)
	got := v2{Who: "before", Wait: &wait}
	if err := read(data, &got); err != nil || got != (v2{Since: 7, Open: true, Who: "nobody"}) {
		t.Errorf("%+v, %v", got, err)
	}
	int32Schema := `{"type":"record","name":"state","fields":[{"name":"Gap","type":"int"},{"name":"gone","type":"string"}]}`
	wide, err := codec.State[struct{ Gap time.Duration }]().Reader(int32Schema)
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Gap time.Duration }
	if err := wide([]byte{14, 2, 'x'}, &g); err != nil || g.Gap != 7 {
		t.Errorf("%+v, %v", g, err)
	}
	for _, writer := range []string{``, `{`, `"string"`, `{"type":"record","name":"state","fields":[]}`} {
		if _, err := old.Reader(writer); !errors.Is(err, codec.ErrSchema) {
			t.Errorf("%s: %v", writer, err)
		}
	}
}

func TestStateAllocatesNothing(t *testing.T) {
	type counters struct {
		N, Latest int64
		Open      bool
		Ratio     float64
		Gap       time.Duration
	}
	st := codec.State[counters]()
	read, err := st.Reader(st.Schema())
	if err != nil {
		t.Fatal(err)
	}
	v, buf := counters{N: 1, Gap: 3}, make([]byte, 0, 100)
	if n := testing.AllocsPerRun(1000, func() {
		var err error
		if buf, err = st.Append(buf[:0], &v); err != nil {
			t.Fatal(err)
		}
		if err = read(buf, &v); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per state", n)
	}
	if v.N != 1 || v.Gap != 3 {
		t.Errorf("%+v", v)
	}
}

func TestAvroCodec(t *testing.T) {
	c := codec.Avro[room]()
	rng := rand.New(rand.NewPCG(5, 6))
	r := randomRoom(rng)
	r.Doors = []door{{true, 1}, {true, 2}}
	data, err := c.Append(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	var back room
	if err := c.Decode(data, &back); err != nil || !sameRoom(back, r) {
		t.Fatalf("%+v, %v", back, err)
	}
	kept := back
	r.Doors = []door{{false, 3}}
	if data, err = c.Append(data[:0], &r); err != nil {
		t.Fatal(err)
	}
	if err := c.Decode(data, &back); err != nil || kept.Doors[0].Since != 1 {
		t.Errorf("the value before became %+v, %v", kept, err)
	}
	if err := codec.Avro[chan int]().(codec.Checked).Check(); !errors.Is(err, codec.ErrType) {
		t.Errorf("a channel: %v", err)
	}
	if _, err := codec.Avro[uint64]().Append(nil, new(uint64(math.MaxUint64))); err == nil {
		t.Error("2^64-1 was written as a long")
	}
}

func FuzzStateReader(f *testing.F) {
	st := codec.State[room]()
	r := randomRoom(rand.New(rand.NewPCG(7, 8)))
	data, err := st.Append(nil, &r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	read, err := st.Reader(st.Schema())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v room
		_ = read(data, &v) // must not panic, nor take memory that data does not pay for
	})
}
