package jsonbytes

import "github.com/go-json-experiment/json/jsontext"

// AppendString appends a text with quotes and the escapes that it needs, as the
// library does, in a shorter way for texts that need none. Texts that are not
// UTF-8 are errors.
func AppendString(dst []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return jsontext.AppendQuote(dst, s)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), nil
}
