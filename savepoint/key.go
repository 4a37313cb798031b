package savepoint

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// KeyJSON is a key of a store as JSON: numbers and booleans as themselves, composite keys
// as a list of their parts. What is not the text that its type says is
// {"base64": ...}, as bytes are.
func KeyJSON(keyType string, key []byte) []byte {
	switch keyType {
	case "int":
		if wholeNumber(string(key)) {
			return slices.Clone(key)
		}
	case "bool":
		if s := string(key); s == "true" || s == "false" {
			return slices.Clone(key)
		}
	case "composite":
		if text, ok := compositeJSON(key); ok {
			return text
		}
	case "string":
		if text, err := jsontext.AppendQuote(nil, key); err == nil {
			return text
		}
	}
	return fmt.Appendf(nil, `{"base64":%q}`, base64.StdEncoding.EncodeToString(key))
}

// compositeJSON splits a composite key: per part four bytes of length and the
// text.
func compositeJSON(key []byte) ([]byte, bool) {
	text := []byte{'['}
	for len(key) > 0 {
		if len(key) < 4 {
			return nil, false
		}
		n := uint64(binary.BigEndian.Uint32(key))
		if key = key[4:]; n > uint64(len(key)) {
			return nil, false
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		var err error
		if text, err = jsontext.AppendQuote(text, key[:n]); err != nil {
			return nil, false
		}
		key = key[n:]
	}
	return append(text, ']'), true
}

// ParseKey reads a key as people write it: a whole number, true or false, a
// text as it is, a JSON list of the parts of a composite key. What has no such
// text is written as [KeyJSON] does, {"base64": "..."}. It is [ErrKey] if the
// text is none of the type.
func ParseKey(keyType, text string) ([]byte, error) {
	if key, ok := base64Key(text); ok {
		return key, nil
	}
	switch keyType {
	case "int":
		if !wholeNumber(text) {
			return nil, fmt.Errorf("%w: %q is no whole number", ErrKey, text)
		}
	case "bool":
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("%w: %q is neither true nor false", ErrKey, text)
		}
	case "composite":
		var parts []string
		if err := json.Unmarshal([]byte(text), &parts); err != nil || parts == nil {
			return nil, fmt.Errorf("%w: it has several parts; write them as a JSON list of texts: [\"a\",\"7\"]", ErrKey)
		}
		return compositeKey(parts), nil
	}
	return []byte(text), nil
}

// wholeNumber reports whether a text is how a whole number is written.
func wholeNumber(text string) bool {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == text
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == text
}

// base64Key reads {"base64": "..."}; ok is false of any other text.
func base64Key(text string) (key []byte, ok bool) {
	var raw struct {
		Base64 *[]byte `json:"base64"`
	}
	err := json.Unmarshal([]byte(text), &raw, json.RejectUnknownMembers(true))
	if err != nil || raw.Base64 == nil {
		return nil, false
	}
	return *raw.Base64, true
}

func compositeKey(parts []string) []byte {
	var key []byte
	for _, part := range parts {
		key = binary.BigEndian.AppendUint32(key, uint32(len(part)))
		key = append(key, part...)
	}
	return key
}
