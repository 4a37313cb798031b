package codec

// StateType is how a store keeps values of S.
type StateType[S any] struct{}

// State keeps values of S as Avro, with a schema derived from the type.
func State[S any]() *StateType[S] { return &StateType[S]{} }

func (*StateType[S]) Check() error                                           { return nil }
func (*StateType[S]) Schema() string                                         { return "" }
func (*StateType[S]) Append(dst []byte, v *S) ([]byte, error)                { return dst, nil }
func (*StateType[S]) Reader(w string) (func(data []byte, v *S) error, error) { return nil, nil }
func (*StateType[S]) Copy(dst, src *S) bool                                  { return false }
