package codec

// Codec turns the value of a Kafka record into a T and back. A Codec shared by
// several tasks must be safe for concurrent use, unless it is a [PerTask].
type Codec[T any] interface {
	// Append appends the encoding of v to dst and returns the longer slice.
	// v is only read.
	Append(dst []byte, v *T) ([]byte, error)
	// Decode overwrites *v with the value encoded in data. It keeps no
	// reference to data, and shares no memory with what *v held before unless
	// the codec's values are documented as valid for one record only.
	Decode(data []byte, v *T) error
}

// PerTask is implemented by a codec that owns scratch space. Each task works
// with its own copy, taken once when the task is built.
type PerTask[T any] interface {
	Codec[T]
	ForTask() Codec[T]
}

// Checked is implemented by codecs that are made for a type which they may not
// be able to encode. Check says why not; nothing else of the codec works then.
type Checked interface{ Check() error }
