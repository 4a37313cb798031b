package cluster

import "log/slog"

// Secret is a password or token. However it is printed, logged or marshalled,
// it shows as dots.
type Secret string

const redacted = "•••"

// String is a fixed text, never the secret.
func (Secret) String() string { return redacted }

// GoString is a fixed text, never the secret.
func (Secret) GoString() string { return redacted }

// MarshalText is a fixed text, never the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is a fixed text, never the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
