package cluster

import (
	"errors"
	"strings"
)

// errJAAS tells the form and not the text, which holds a password.
var errJAAS = errors.New(`sasl.jaas.config is not of the form: LoginModule required username="..." password="...";`)

// parseJAAS reads the options of a login module, as in
//
//	org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";
//
// Values are quoted, with backslash before a quote or a backslash, or bare.
func parseJAAS(text string) (map[string]string, error) {
	fields := strings.SplitN(strings.TrimSpace(text), " ", 3)
	if len(fields) < 3 {
		return nil, errJAAS
	}
	rest, ok := strings.CutSuffix(strings.TrimSpace(fields[2]), ";")
	if !ok {
		return nil, errJAAS
	}
	options := make(map[string]string)
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, errJAAS
		}
		value, tail, err := jaasValue(strings.TrimSpace(after))
		if err != nil {
			return nil, err
		}
		options[strings.TrimSpace(name)] = value
		rest = tail
	}
	return options, nil
}

// jaasValue takes one value off the front of text.
func jaasValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, " ")
		return value, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], nil
		case '\\':
			i++
			if i == len(text) {
				return "", "", errJAAS
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", errJAAS
}
