package codec

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/procd/procd/internal/jsonbytes"
	"github.com/procd/procd/internal/jsonbytes/jsontest"
)

// Types of all sorts: some are decoded here, some by the library, most by both.

type numbers struct {
	Type string  `json:"type"`
	I    int     `json:"i"`
	I8   int8    `json:"i8"`
	I16  int16   `json:"i16"`
	I32  int32   `json:"i32"`
	I64  int64   `json:"i64"`
	U    uint    `json:"u"`
	U8   uint8   `json:"u8"`
	U16  uint16  `json:"u16"`
	U32  uint32  `json:"u32"`
	U64  uint64  `json:"u64"`
	F32  float32 `json:"f32"`
	F64  float64 `json:"f64"`
	OK   bool    `json:"ok"`
}

type nested struct {
	A     inner   `json:"a"`
	B     *inner  `json:"b"`
	C     **inner `json:"c"`
	Name  *string `json:"type"`
	Inner struct{ X, Y int }
	Next  *nested `json:"next"`
}

type inner struct {
	X    int32  `json:"x"`
	Y    *int64 `json:"y"`
	Text string `json:"text"`
}

type mixed struct {
	Type  string           `json:"type"`
	List  []int            `json:"list"`
	Of    []inner          `json:"of"`
	More  map[string]inner `json:"more"`
	Any   any              `json:"any"`
	Raw   jsontext.Value   `json:"raw"`
	Bytes []byte           `json:"bytes"`
	Pair  [2]int           `json:"pair"`
	At    time.Time        `json:"at"`
	Room  int              `json:"room"`
}

type omitting struct {
	Type  string         `json:"type,omitempty"`
	Room  int            `json:"room,omitempty"`
	N     int            `json:"n,omitzero"`
	F     float64        `json:"f,omitzero"`
	OK    bool           `json:"ok,omitzero,omitempty"`
	P     *string        `json:"p,omitempty"`
	Q     *inner         `json:"q,omitzero"`
	S     inner          `json:"s,omitzero"`
	Void  *struct{}      `json:"void,omitempty"`
	Skip  *omitting      `json:"skip,omitempty"`
	List  []int          `json:"list,omitempty"`
	Map   map[string]int `json:"map,omitzero"`
	At    time.Time      `json:"at,omitzero"`
	Never year           `json:"never,omitzero"`
	Text  celsius        `json:"text,omitempty"`
}

// year is zero by its own rule.
type year int

func (y year) IsZero() bool { return y == 7 }

// celsius writes itself as text, kelvin as JSON, by a pointer only.
type celsius int

func (c celsius) MarshalText() ([]byte, error) {
	if c == 0 {
		return nil, nil
	}
	return fmt.Appendf(nil, "%d °C", int(c)), nil
}

func (c *celsius) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "%d", (*int)(c))
	return err
}

type kelvin struct{ T int }

func (k *kelvin) UnmarshalJSON(b []byte) error {
	k.T = len(b)
	if k.T > 9 {
		return errors.New("too hot")
	}
	return nil
}

func (k *kelvin) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "[ %d ]", k.T), nil }

type customs struct {
	Type celsius  `json:"type"`
	X    kelvin   `json:"x"`
	Y    *kelvin  `json:"y"`
	Room *celsius `json:"room"`
	N    int      `json:"n"`
}

type pointerZero struct {
	Type string `json:"type"`
	Y    *year  `json:"y,omitzero"`
	At   any    `json:"at,omitzero"`
}

type named string

type tagged struct {
	Type    named `json:"room"`
	Name    bool
	Ignored int `json:"-"`
	_       int
	Odd     int     `json:"a b/c.d é"`
	Number  float32 `json:",omitzero"`
}

type embedding struct {
	inner
	Type string `json:"type"`
}

// Of these the library knows more than a name.
type quoted struct {
	Type int    `json:"type,string"`
	N    string `json:"n"`
}
type loose struct {
	Type string `json:"type,case:ignore"`
	N    int    `json:"n"`
}
type twice struct {
	Type string
	B    int `json:"Type"`
}
type singleQuoted struct {
	Type string `json:"'type'"`
	N    int    `json:"n"`
}
type timed struct {
	Type string        `json:"type"`
	N    time.Duration `json:"n"`
}
type channels struct {
	Type string   `json:"type"`
	N    chan int `json:"n"`
}
type closed struct {
	_ int
}
type many struct {
	A00, A01, A02, A03, A04, A05, A06, A07, A08, A09, A10, A11, A12, A13, A14, A15, A16, A17, A18, A19, A20, A21 int
	B00, B01, B02, B03, B04, B05, B06, B07, B08, B09, B10, B11, B12, B13, B14, B15, B16, B17, B18, B19, B20, B21 int
	C00, C01, C02, C03, C04, C05, C06, C07, C08, C09, C10, C11, C12, C13, C14, C15, C16, C17, C18, C19           string
	Type                                                                                                         string `json:"type"`
}
type tooMany struct {
	many
	More many `json:"more"`
	N    int  `json:"n"`
}

// A type is decoded and encoded just as by the library, whatever the text.
func TestJSONIsTheLibrarys(t *testing.T) {
	t.Run("numbers", agree[numbers])
	t.Run("nested", agree[nested])
	t.Run("mixed", agree[mixed])
	t.Run("omitting", agree[omitting])
	t.Run("customs", agree[customs])
	t.Run("pointer zero", agree[pointerZero])
	t.Run("tagged", agree[tagged])
	t.Run("embedding", agree[embedding])
	t.Run("quoted", agree[quoted])
	t.Run("loose", agree[loose])
	t.Run("twice", agree[twice])
	t.Run("single quotes", agree[singleQuoted])
	t.Run("timed", agree[timed])
	t.Run("channels", agree[channels])
	t.Run("closed", agree[closed])
	t.Run("many", agree[many])
	t.Run("too many", agree[tooMany])
	t.Run("pointer", agree[*nested])
	t.Run("string", agree[string])
	t.Run("named", agree[named])
	t.Run("int8", agree[int8])
	t.Run("uint64", agree[uint64])
	t.Run("float32", agree[float32])
	t.Run("list", agree[[]inner])
	t.Run("map", agree[map[named]inner])
	t.Run("any", agree[any])
	t.Run("time", agree[time.Time])
	t.Run("kelvin", agree[kelvin])
	t.Run("struct{}", agree[struct{}])
}

func agree[T any](t *testing.T) {
	texts := jsontest.Texts{Rand: rand.New(rand.NewPCG(7, 8)), Names: namesIn(reflect.TypeFor[T]())}
	c := JSON[T]().(PerTask[T]).ForTask().(*jsonCodec[T])
	accepted, plain := 0, 0
	const all = 400
	for range all {
		text := texts.Next()
		if agreeOn(t, c, text) {
			accepted++
		}
		var v T
		if c.known() && c.plain.decode(c.shape, unsafe.Pointer(&v), text) {
			plain++
		}
	}
	t.Logf("%d of %d texts accepted, %d of them without the library", accepted, all, plain)
}

// namesIn are the names that mean something in a type.
func namesIn(t reflect.Type) map[string]jsontest.Kind {
	names := map[string]jsontest.Kind{"x": "int", "y": "int", "text": "text"}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names[strings.Trim(name, "'")] = kindOf(f.Type)
			names[f.Name] = kindOf(f.Type)
		}
	}
	return names
}

func kindOf(t reflect.Type) jsontest.Kind {
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "bool"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Interface:
		return ""
	}
	return "int"
}

func agreeOn[T any](t *testing.T, c *jsonCodec[T], data []byte) (accepted bool) {
	t.Helper()
	var want, got, zero T
	wantErr := decodeByLibrary(data, &want)
	if wantErr != nil {
		want, wantErr = zero, fmt.Errorf("procd/codec: JSON: %w", wantErr)
	}
	err := c.Decode(data, &got)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %+v, %v\nthe library: %+v, %v", data, got, err, want, wantErr)
	}
	if err == nil {
		agreeOnValue(t, c, &got)
	}
	return err == nil
}

func agreeOnValue[T any](t *testing.T, c *jsonCodec[T], v *T) {
	t.Helper()
	var library libraryJSON
	want, wantErr := library.append([]byte("x"), v)
	if wantErr != nil {
		wantErr = fmt.Errorf("procd/codec: JSON: %w", wantErr)
	}
	got, err := c.Append([]byte("x"), v)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || string(got) != string(want) {
		t.Fatalf("%+v: %s, %v\nthe library: %s, %v", *v, got, err, want, wantErr)
	}
}

// encoding/json takes the last of a name too, if it decodes to maps.
func TestLastOfNames(t *testing.T) {
	texts := jsontest.Texts{Rand: rand.New(rand.NewPCG(11, 12)), Names: map[string]jsontest.Kind{"a": "object", "b": "list", "c": "", "e": "int"}}
	rewritten := 0
	for range 3000 {
		text := texts.Next()
		once, ok := lastOfNames(text)
		if !ok || stdjson.Unmarshal(text, new(any)) != nil { // such as 1e400
			continue
		}
		rewritten++
		var want, got any
		if err := errors.Join(stdjson.Unmarshal(text, &want), stdjson.Unmarshal(once, &got)); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s: %v, want %v (%v)", text, once, got, want, err)
		}
		if !jsontext.Value(once).IsValid() { // it refuses duplicates
			t.Fatalf("%s became %s", text, once)
		}
	}
	if rewritten < 100 {
		t.Errorf("only %d texts had a name twice", rewritten)
	}
}

// What no text decodes to.
func TestJSONEncodesAsTheLibrary(t *testing.T) {
	f := JSON[numbers]().(*jsonCodec[numbers])
	for _, v := range []float64{
		0, math.Copysign(0, -1), 1, 0.1, 1e20, 1e21, 1e-6, 1e-7, 123456789.125, math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.MaxFloat32, math.NaN(), math.Inf(1), math.Inf(-1),
	} {
		agreeOnValue(t, f, &numbers{F64: v})
		agreeOnValue(t, f, &numbers{F32: float32(v)})
		agreeOnValue(t, JSON[omitting]().(*jsonCodec[omitting]), &omitting{F: v, Never: 7})
	}
	for _, s := range []string{"", "\xff", "a\xc3", "\xed\xa0\x80", "\u2028<&>\x7f\x00\"\\\n", "é😀"} {
		agreeOnValue(t, f, &numbers{Type: s})
		agreeOnValue(t, JSON[omitting]().(*jsonCodec[omitting]), &omitting{Type: s, P: &s, Void: new(struct{}), Skip: new(omitting)})
		agreeOnValue(t, JSON[mixed]().(*jsonCodec[mixed]), &mixed{Any: s, Raw: jsontext.Value(s)})
	}
	n := JSON[nested]().(*jsonCodec[nested])
	for _, deep := range []int{maxPlain - 1, maxPlain, maxPlain + 1, 2000, jsonbytes.MaxDepth - 1, jsonbytes.MaxDepth, jsonbytes.MaxDepth + 1} {
		v := &nested{}
		for range deep - 2 { // with its Inner
			v = &nested{Next: v}
		}
		agreeOnValue(t, n, v)
	}
	for _, deep := range []int{jsonbytes.MaxDepth - 2, jsonbytes.MaxDepth - 1, jsonbytes.MaxDepth} {
		raw := jsontext.Value(strings.Repeat("[", deep) + strings.Repeat("]", deep))
		agreeOnValue(t, JSON[mixed]().(*jsonCodec[mixed]), &mixed{Raw: raw})
		agreeOn(t, JSON[mixed]().(*jsonCodec[mixed]), []byte(`{"raw":`+string(raw)+`}`))
		agreeOn(t, n, []byte(`{"a":{"x":1,"unknown":`+string(raw)+`}}`))
	}
	endless := &nested{}
	endless.Next = endless
	agreeOnValue(t, n, endless)
}

// Usual texts of usual types do not need the library, and rare ones do: the
// comparisons above compare two ways.
func TestJSONPlain(t *testing.T) {
	for text, want := range map[string]bool{
		`{"type":"motion","i":-7,"i64":-9223372036854775808,"u64":1790000000000000000,"f64":1.5e3,"ok":true}`: true,
		` { "ok" : false , "type" : "\u00e9\n" , "i8":null, "unknown" : [ {"a" : 1, "a" : 2} ] } `:            true,
		`{}`:                           true,
		`null`:                         true,
		`{"type":"a","type":"b"}`:      false,
		`{"\u0074ype":"a"}`:            false,
		`{"i8":128}`:                   false,
		`{"u64":18446744073709551615}`: false, // is rare
		`{"f64":1e400}`:                false,
		`{"i":1.0}`:                    false,
		`{"type":7}`:                   false,
		`{} {}`:                        false,
	} {
		var v numbers
		var j plainJSON
		if got := j.decode(shapeOf(reflect.TypeFor[numbers]()), unsafe.Pointer(&v), []byte(text)); got != want {
			t.Errorf("%s: plain: %v", text, got)
		}
	}
	for _, known := range []bool{
		JSON[nested]().(*jsonCodec[nested]).known(), JSON[mixed]().(*jsonCodec[mixed]).known(), JSON[omitting]().(*jsonCodec[omitting]).known(),
		JSON[customs]().(*jsonCodec[customs]).known(), JSON[tagged]().(*jsonCodec[tagged]).known(), JSON[*nested]().(*jsonCodec[*nested]).known(),
	} {
		if !known {
			t.Error("a type went to the library as a whole")
		}
	}
}

// A field that is not exported but has a tag is for the library to refuse.
func TestJSONLeavesMistakes(t *testing.T) {
	refused := reflect.StructOf([]reflect.StructField{
		{Name: "Type", Type: reflect.TypeFor[string]()},
		{Name: "n", PkgPath: "codec", Type: reflect.TypeFor[int](), Tag: `json:"n"`},
	})
	if shapeOf(refused).kind != reflect.Invalid {
		t.Error("it is taken for a plain one")
	}
}

// The strings of a value are its own, however the text came by them.
func TestJSONStringsAreKept(t *testing.T) {
	c := JSON[inner]().(PerTask[inner]).ForTask()
	var kept []inner
	for i := range 5000 {
		data := fmt.Appendf(nil, `{"text":"text %d\t%d","y":%d}`, i, i, i)
		if i%2 == 0 {
			data = fmt.Appendf(nil, `{"text":"text %d %d","y":%d}`, i, i, i)
		}
		var v inner
		if err := c.Decode(data, &v); err != nil {
			t.Fatal(err)
		}
		clear(data)
		kept = append(kept, v)
	}
	for i, v := range kept {
		between := []string{" ", "\t"}[i%2]
		if want := fmt.Sprintf("text %d%s%d", i, between, i); v.Text != want || *v.Y != int64(i) {
			t.Fatalf("%d: %+v", i, v)
		}
	}
}

// Tasks of a new type begin at once.
func TestJSONShapesAreShared(t *testing.T) {
	type leaf struct {
		Text string `json:"text"`
	}
	type tree struct {
		Leaf *leaf `json:"leaf"`
		Next *tree `json:"next"`
	}
	var tasks sync.WaitGroup
	for range 8 {
		tasks.Go(func() {
			var v tree
			err := JSON[tree]().Decode([]byte(`{"next":{"leaf":{"text":"x"}}}`), &v)
			if err != nil || v.Next == nil || v.Next.Leaf == nil || v.Next.Leaf.Text != "x" {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
	tasks.Wait()
}

func FuzzJSONIsTheLibrarys(f *testing.F) {
	texts := jsontest.Texts{Rand: rand.New(rand.NewPCG(9, 10)), Names: namesIn(reflect.TypeFor[numbers]())}
	for range 20 {
		f.Add(texts.Next())
	}
	f.Add([]byte(`{"a":{"x":1,"y":null},"b":{"text":"\n"},"next":{"next":null},"type":"x"}`))
	f.Add([]byte(`{"list":[1],"more":{"":{"x":1}},"at":"2026-11-22T00:00:00Z","raw":[ 1],"pair":[1,2]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		agreeOn(t, JSON[numbers]().(*jsonCodec[numbers]), data)
		agreeOn(t, JSON[nested]().(*jsonCodec[nested]), data)
		agreeOn(t, JSON[mixed]().(*jsonCodec[mixed]), data)
		agreeOn(t, JSON[omitting]().(*jsonCodec[omitting]), data)
		agreeOn(t, JSON[customs]().(*jsonCodec[customs]), data)
	})
}
