// Package jsonbytes reads JSON where it lies, in the bytes of a record, for
// decoders that know what they expect.
//
// Its functions are given a text and the place of something in it, and return
// the place behind that thing, or -1 if JSON has no such thing there; a place
// at the end of the text is allowed everywhere. They say no more about an
// error: whoever needs to know asks a library. They hold exactly what
// [github.com/go-json-experiment/json/jsontext] holds to be JSON when duplicate
// names are allowed: UTF-8 without surrogates, at most [MaxDepth] levels.
//
// An object, and a list likewise, is read as
//
//	at, more := Begin(data, at, '}')
//	for more {
//		name, plain, value := Name(data, at)
//		… at = what is behind the value at value, or -1
//		at, more = Next(data, at, '}')
//	}
//
// after which at is behind the object, or -1.
package jsonbytes
