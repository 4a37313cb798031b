package row

import (
	"fmt"
	"sync"

	"github.com/twmb/avro"
)

// inline is how many bytes a state may have to need no memory of its own: two
// numbers of any size, or a flag, a time and a short text.
const inline = 23

// State is the packed state of one key: the Avro bytes of a record of optional
// fields. It is a value: an assignment makes an independent copy, and a small
// one holds no pointers. The zero State has no field set.
type State struct {
	small [inline]byte
	n     uint8
	large string
}

func newState(b []byte) State {
	var s State
	if len(b) > inline {
		s.large = string(b)
		return s
	}
	s.n = uint8(copy(s.small[:], b))
	return s
}

// bytes views the state's bytes, nil for the zero State.
func (s *State) bytes() []byte {
	if s.large != "" {
		return bytesOf(s.large)
	}
	if s.n == 0 {
		return nil
	}
	return s.small[:s.n]
}

// StateType says how states of these fields are stored. It implements
// kstate.Type[State] and is safe for concurrent use.
type StateType struct {
	fields []Field
	schema string
	parsed func() (*avro.Schema, error)
}

// NewStateType returns the type of states with these fields.
func NewStateType(fields []Field) *StateType {
	t := &StateType{fields: fields, schema: avroSchema("state", fields)}
	t.parsed = sync.OnceValues(func() (*avro.Schema, error) { return avro.Parse(t.schema) })
	return t
}

// Schema is the Avro schema of the states: a record named state, each field a
// union of null and its type, null by default.
func (t *StateType) Schema() string { return t.schema }

// Append appends the Avro bytes of s.
func (t *StateType) Append(dst []byte, s *State) ([]byte, error) {
	b := s.bytes()
	if b == nil {
		return append(dst, make([]byte, len(t.fields))...), nil
	}
	return append(dst, b...), nil
}

// Copy copies; it is always possible.
func (t *StateType) Copy(dst, src *State) bool {
	*dst = *src
	return true
}

// Reader returns a function that reads states written with another version of
// the fields: those that are new are not set, those that went are dropped,
// numbers widen, by Avro's rules.
func (t *StateType) Reader(writer string) (func(data []byte, s *State) error, error) {
	if writer == t.schema {
		return t.read, nil
	}
	w, err := avro.Parse(writer)
	if err != nil {
		return nil, fmt.Errorf("procd/config: state schema %s: %w", writer, err)
	}
	r, err := t.parsed()
	if err != nil {
		return nil, fmt.Errorf("procd/config: state schema %s: %w", t.schema, err)
	}
	resolved, err := avro.Resolve(w, r)
	if err != nil {
		return nil, fmt.Errorf("procd/config: the stored state does not resolve to the job's: %w", err)
	}
	return func(data []byte, s *State) error {
		var v any
		rest, err := resolved.Decode(data, &v)
		if err != nil {
			return fmt.Errorf("procd/config: stored state: %w", err)
		}
		if len(rest) > 0 {
			return errAvro
		}
		return t.fromAny(v, s)
	}, nil
}

// read takes bytes of the same schema, after checking that they are that.
func (t *StateType) read(data []byte, s *State) error {
	r := avroReader{data: data}
	var scratch Slot
	for i := range t.fields {
		r.field(&t.fields[i], &scratch)
	}
	if r.bad || len(r.data) > 0 {
		return fmt.Errorf("procd/config: stored state: %w", errAvro)
	}
	*s = newState(data)
	return nil
}

func (t *StateType) fromAny(v any, s *State) error {
	var record Slot
	if err := slotOf(&Type{Kind: Record, Fields: t.fields}, v, &record); err != nil {
		return fmt.Errorf("procd/config: stored state: %w", err)
	}
	b, err := appendAvroRecord(nil, t.fields, record.L)
	if err != nil {
		return err
	}
	*s = newState(b)
	return nil
}

// slotOf turns a value as the Avro library decodes it into a slot.
func slotOf(t *Type, v any, s *Slot) error {
	*s = Slot{}
	switch x := v.(type) {
	case nil:
		s.Null = true
	case bool:
		s.SetBool(x)
	case int32:
		s.SetWhole(int64(x))
	case int64:
		s.SetWhole(x)
	case float32:
		s.SetDouble(float64(x))
	case float64:
		s.SetDouble(x)
	case string:
		s.S = x
	case []byte:
		s.S = string(x)
	case []any:
		s.L = make([]Slot, len(x))
		for i := range x {
			if err := slotOf(t.Elem, x[i], &s.L[i]); err != nil {
				return err
			}
		}
	case map[string]any:
		return slotOfMap(t, x, s)
	default:
		return fmt.Errorf("%w: %T", errAvro, v)
	}
	return nil
}

func slotOfMap(t *Type, m map[string]any, s *Slot) error {
	if t.Kind == Record {
		s.L = make([]Slot, len(t.Fields))
		for i, f := range t.Fields {
			if err := slotOf(f.Type, m[f.Name], &s.L[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for k, v := range m {
		e := Slot{S: k, L: make([]Slot, 1)}
		if err := slotOf(t.Elem, v, &e.L[0]); err != nil {
			return err
		}
		s.L = append(s.L, e)
	}
	s.L = SortEntries(s.L)
	return nil
}

// Packer moves states between their packed form and slots of a frame.
type Packer struct {
	fields  []Field
	slots   []int
	current State // what the slots' strings point into
	scratch []byte
}

// NewPacker returns a packer of fields[i] in the slot slots[i].
func NewPacker(fields []Field, slots []int) *Packer {
	return &Packer{fields: fields, slots: slots}
}

// Unpack fills the slots from s; fields never set are null.
func (p *Packer) Unpack(s State, f *Frame) error {
	p.current = s
	b := p.current.bytes()
	if b == nil {
		for _, slot := range p.slots {
			f.Slots[slot].SetNull()
		}
		return nil
	}
	r := avroReader{data: b}
	for i := range p.fields {
		r.field(&p.fields[i], &f.Slots[p.slots[i]])
	}
	if r.bad || len(r.data) > 0 {
		return fmt.Errorf("procd/config: state: %w", errAvro)
	}
	return nil
}

// Pack returns the state that the slots hold.
func (p *Packer) Pack(f *Frame) (State, error) {
	b := p.scratch[:0]
	var err error
	for i := range p.fields {
		if b, err = appendAvroField(b, &p.fields[i], &f.Slots[p.slots[i]]); err != nil {
			return State{}, err
		}
	}
	p.scratch = b
	return newState(b), nil
}
