package topology

import "fmt"

// PartitionedBy says that a record's key is this field of it, as text (see
// [Key]). It is checked on every record; another key is a bad record.
func PartitionedBy[T any, K Key](field func(T) K) SourceOption {
	return PartitionedByPer(func() func(T) (K, error) {
		return func(v T) (K, error) { return field(v), nil }
	})
}

// PartitionedByPer is [PartitionedBy] for a function that owns scratch space or
// can fail: make is called once per task.
func PartitionedByPer[T any, K Key](make func() func(T) (K, error)) SourceOption {
	return keyField[T, K]{make}
}

type keyField[T any, K Key] struct{ make func() func(T) (K, error) }

func (o keyField[T, K]) String() string { return "PartitionedBy" }

func (o keyField[T, K]) source(s *sourceSettings) { s.typed = append(s.typed, o) }

func (o keyField[T, K]) apply(s *source[T]) {
	s.spec.KeyField = true
	s.keyType = keyType[K]()
	s.checker = o.checker
	s.key = o.key
}

// key makes the function that computes a record's key.
func (o keyField[T, K]) key() func(v T) ([]byte, error) {
	field, text := o.make(), keyText[K]()
	return func(v T) ([]byte, error) {
		key, err := field(v)
		if err != nil {
			return nil, err
		}
		return text(nil, &key), nil
	}
}

// checker makes the function that compares a record's key with its field.
func (o keyField[T, K]) checker(t *Task) func(v T) {
	field, text := o.make(), keyText[K]()
	var key K
	var want []byte
	return func(v T) {
		var err error
		if key, err = field(v); err != nil {
			t.fail(err)
			return
		}
		want = text(want[:0], &key)
		if t.meta.Key == nil || string(t.meta.Key) != string(want) {
			t.fail(keyFieldError(t.meta.Key, want))
		}
	}
}

func keyFieldError(have, want []byte) error {
	if have == nil {
		return fmt.Errorf("%w: it is missing, should be %q", ErrKeyField, want)
	}
	return fmt.Errorf("%w: it is %q, should be %q; have the producer set it, or leave the check out (PartitionedBy, `input.key`) and choose the key with KeyBy (`- key:`)", ErrKeyField, have, want)
}

// KeyOf returns a function that computes, from a record's value, the key that a
// producer has to give it; nil where the source has no key field. It is for
// what writes records to a source topic by hand: `procd dev`, tests. It owns
// scratch space: one goroutine.
func (p *Plan) KeyOf(source string) func(value []byte) (key []byte, err error) {
	for _, o := range p.ops {
		if o.kind == opFrom && o.name == source && o.keyOf != nil {
			return o.keyOf()
		}
	}
	return nil
}

func (s *source[T]) keyOf() func(value []byte) ([]byte, error) {
	dec, key := forTask(s.codec), s.key()
	var v T
	return func(value []byte) ([]byte, error) {
		if err := dec.Decode(value, &v); err != nil {
			return nil, err
		}
		return key(v)
	}
}
