package row

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/linkedin/goavro/v2"
)

// stateFields has every kind, nested ones too.
var stateFields = []Field{
	{Name: "b", Type: Of(Bool)}, {Name: "i", Type: Of(Int)}, {Name: "l", Type: Of(Long)}, {Name: "f", Type: Of(Float)},
	{Name: "d", Type: Of(Double)}, {Name: "s", Type: Of(String)}, {Name: "y", Type: Of(Bytes)}, {Name: "t", Type: Of(Timestamp)},
	{Name: "list", Type: &Type{Kind: List, Elem: Of(String)}},
	{Name: "map", Type: &Type{Kind: Map, Elem: &Type{Kind: List, Elem: Of(Long)}}},
	{Name: "rec", Type: &Type{Kind: Record, Fields: []Field{{Name: "x", Type: Of(Int)}, {Name: "y", Type: Of(String)}}}},
	{Name: "recs", Type: &Type{Kind: List, Elem: &Type{Kind: Record, Fields: []Field{{Name: "x", Type: Of(Int)}}}}},
}

func randomSlot(r *rand.Rand, t *Type) Slot {
	s := Slot{}
	switch t.Kind {
	case Bool:
		s.SetBool(r.IntN(2) == 0)
	case Int:
		s.SetWhole(int64(int32(r.Uint64())))
	case Long, Timestamp:
		s.SetWhole([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, r.Int64()}[r.IntN(6)])
	case Float:
		s.SetDouble(float64(float32(r.NormFloat64())))
	case Double:
		s.SetDouble(r.NormFloat64())
	case String, Bytes:
		s.SetString(strings.Repeat("é", r.IntN(4)))
	case List:
		s.L = []Slot{}
		for range r.IntN(3) {
			s.L = append(s.L, randomSlot(r, t.Elem))
		}
	case Map:
		s.L = []Slot{}
		for i := range r.IntN(3) {
			s.L = append(s.L, Slot{S: string(rune('a' + i)), L: []Slot{randomSlot(r, t.Elem)}})
		}
	case Record:
		for _, f := range t.Fields {
			s.L = append(s.L, randomField(r, &f))
		}
	}
	return s
}

func randomField(r *rand.Rand, f *Field) Slot {
	if r.IntN(4) == 0 {
		return Slot{Null: true}
	}
	return randomSlot(r, f.Type)
}

// plain is the value as goavro has it.
func plain(t *Type, s *Slot) any {
	switch t.Kind {
	case Bool:
		return s.Bool()
	case Int:
		return int32(s.N)
	case Long, Timestamp:
		return s.N
	case Float:
		return float32(s.Double())
	case Double:
		return s.Double()
	case String:
		return s.S
	case Bytes:
		return []byte(s.S)
	case List:
		l := []any{}
		for i := range s.L {
			l = append(l, plain(t.Elem, &s.L[i]))
		}
		return l
	case Map:
		m := map[string]any{}
		for i := range s.L {
			m[s.L[i].S] = plain(t.Elem, &s.L[i].L[0])
		}
		return m
	}
	m := map[string]any{}
	for i, f := range t.Fields {
		if s.L[i].Null {
			m[f.Name] = nil
			continue
		}
		m[f.Name] = plain(f.Type, &s.L[i])
	}
	return m
}

// strip takes the names of branches out of goavro's unions.
func strip(t *Type, v any) any {
	switch t.Kind {
	case Record:
		m := v.(map[string]any)
		for _, f := range t.Fields {
			if u, ok := m[f.Name].(map[string]any); ok {
				for _, inner := range u {
					m[f.Name] = strip(f.Type, inner)
				}
			}
		}
	case List:
		for i, e := range v.([]any) {
			v.([]any)[i] = strip(t.Elem, e)
		}
	case Map:
		for k, e := range v.(map[string]any) {
			v.(map[string]any)[k] = strip(t.Elem, e)
		}
	}
	return v
}

func TestStateBytesAreAvro(t *testing.T) {
	st := NewStateType(stateFields)
	oracle, err := goavro.NewCodec(st.Schema())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	f, p := NewFrame(len(stateFields)), NewPacker(stateFields, slotsOf(len(stateFields)))
	record := &Type{Kind: Record, Fields: stateFields}
	for range 2000 {
		for i := range stateFields {
			f.Slots[i] = randomField(r, &stateFields[i])
		}
		s, err := p.Pack(f)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := st.Append(nil, &s)
		got, rest, err := oracle.NativeFromBinary(b)
		if err != nil || len(rest) > 0 {
			t.Fatalf("goavro: %v, %d bytes left of %x", err, len(rest), b)
		}
		want := plain(record, &Slot{L: f.Slots})
		if !reflect.DeepEqual(strip(record, got), want) {
			t.Fatalf("goavro reads\n%v, want\n%v", got, want)
		}
		roundTrip(t, st, p, f, b, want)
	}
}

func roundTrip(t *testing.T, st *StateType, p *Packer, f *Frame, b []byte, want any) {
	t.Helper()
	read, err := st.Reader(st.Schema())
	if err != nil {
		t.Fatal(err)
	}
	var s State
	if err := read(bytes.Clone(b), &s); err != nil {
		t.Fatal(err)
	}
	if err := p.Unpack(s, f); err != nil {
		t.Fatal(err)
	}
	if got := plain(&Type{Kind: Record, Fields: stateFields}, &Slot{L: f.Slots}); !reflect.DeepEqual(got, want) {
		t.Fatalf("unpacked\n%v, want\n%v", got, want)
	}
}

func TestZeroStateIsAvroToo(t *testing.T) {
	st := NewStateType(stateFields)
	var s State
	b, err := st.Append(nil, &s)
	if err != nil || !bytes.Equal(b, make([]byte, len(stateFields))) {
		t.Errorf("%x, %v", b, err)
	}
}

func TestOlderStatesResolve(t *testing.T) {
	old := []Field{{Name: "gone", Type: Of(String)}, {Name: "n", Type: Of(Int)}, {Name: "m", Type: Of(Long)}, {Name: "kept", Type: Of(String)},
		{Name: "tags", Type: &Type{Kind: Map, Elem: Of(Int)}}}
	now := []Field{{Name: "added", Type: Of(Bool)}, {Name: "kept", Type: Of(String)}, {Name: "n", Type: Of(Long)}, {Name: "m", Type: Of(Double)},
		{Name: "tags", Type: &Type{Kind: Map, Elem: Of(Long)}}}
	f := NewFrame(5)
	f.Slots[0].SetString("x")
	f.Slots[1].SetWhole(-7)
	f.Slots[2].SetWhole(1 << 40)
	f.Slots[3].SetString("text")
	f.Slots[4] = Slot{L: []Slot{{S: "a", L: []Slot{{N: 3}}}}}
	s, err := NewPacker(old, slotsOf(5)).Pack(f)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := NewStateType(old).Append(nil, &s)
	read, err := NewStateType(now).Reader(NewStateType(old).Schema())
	if err != nil {
		t.Fatal(err)
	}
	if err := read(b, &s); err != nil {
		t.Fatal(err)
	}
	if err := NewPacker(now, slotsOf(5)).Unpack(s, f); err != nil {
		t.Fatal(err)
	}
	if !f.Slots[0].Null || f.Slots[1].S != "text" || f.Slots[2].N != -7 || f.Slots[3].Double() != 1<<40 || f.Slots[4].L[0].L[0].N != 3 {
		t.Errorf("resolved to %+v", f.Slots)
	}
	if _, err := NewStateType(old).Reader(NewStateType(now).Schema()); err == nil {
		t.Error("a double resolved to a long")
	}
}

func TestStateReaderRefusesForeignBytes(t *testing.T) {
	st := NewStateType(stateFields)
	read, _ := st.Reader(st.Schema())
	r := rand.New(rand.NewPCG(3, 4))
	var s State
	for range 20000 {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.IntN(6)) // small numbers get far
		}
		if read(b, &s) != nil {
			continue
		}
		if err := NewPacker(stateFields, slotsOf(len(stateFields))).Unpack(s, NewFrame(len(stateFields))); err != nil {
			t.Fatalf("%x was read, and does not unpack: %v", b, err)
		}
	}
	if err := read([]byte{2}, &s); err == nil {
		t.Error("a cut state was read")
	}
}

func TestSmallStatesAllocateNothing(t *testing.T) {
	fields := []Field{{Name: "active", Type: Of(Bool)}, {Name: "since", Type: Of(Long)}}
	f, p := NewFrame(2), NewPacker(fields, []int{0, 1})
	f.Slots[0].SetBool(true)
	f.Slots[1].SetWhole(1_700_000_000_000)
	n := testing.AllocsPerRun(1000, func() {
		s, err := p.Pack(f)
		if err == nil {
			err = p.Unpack(s, f)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if size := unsafe.Sizeof(State{}); size > 40 {
		t.Errorf("a State has %d bytes", size)
	}
}
