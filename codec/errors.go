package codec

import "errors"

var (
	// ErrLength: the bytes are too many or too few for the type.
	ErrLength = errors.New("procd/codec: wrong length")
	// ErrType: a type cannot be encoded as it is.
	ErrType = errors.New("procd/codec: unsuitable type")
	// ErrSchema: data of one schema cannot be read as another.
	ErrSchema = errors.New("procd/codec: schemas do not fit")
)
