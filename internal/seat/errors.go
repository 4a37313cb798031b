package seat

import "errors"

var (
	// ErrNewerFormat says that a newer procd wrote the directory. Going on
	// could misread its state, so nothing in it is touched.
	ErrNewerFormat = errors.New("procd/seat: written by a newer procd")
	// ErrNotWritable says that the data directory cannot be written.
	ErrNotWritable = errors.New("procd/seat: data directory is not writable")
	// ErrInUse says that another process sits on a seat that was to be wiped.
	ErrInUse = errors.New("procd/seat: in use by another process")
)
