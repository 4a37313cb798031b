package savepoint

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxManifestBytes bounds a manifest: 64 MiB are some 500,000 files.
const maxManifestBytes = 64 << 20

// A manifest file is one JSON object: the format version, the SHA-256 of the
// bytes of the value of "manifest", and that value. The bytes around the value
// are fixed, so that every flipped bit is found.
const (
	manifestHead = "{\n\"format_version\": %d,\n\"sha256\": \"%s\",\n\"manifest\": "
	manifestTail = "\n}\n"
)

var (
	versionRE = regexp.MustCompile(`^\{\s*"format_version":\s*([1-9][0-9]{0,5})\s*,`)
	sumRE     = regexp.MustCompile(`^\{\n"format_version": [0-9]+,\n"sha256": "([0-9a-f]{64})",\n`)
)

// encodeManifest checks a manifest and returns the file's bytes and the
// checksum in it.
func encodeManifest(m *Manifest) (file []byte, sha256 string, err error) {
	if err := m.Check(); err != nil {
		return nil, "", err
	}
	body, err := json.Marshal(m, jsontext.WithIndent("  "))
	if err != nil {
		return nil, "", fmt.Errorf("procd/savepoint: encode manifest: %w", err)
	}
	sha256 = sumOf(body)
	file = fmt.Appendf(nil, manifestHead, FormatVersion, sha256)
	file = append(append(file, body...), manifestTail...)
	if len(file) > maxManifestBytes {
		return nil, "", fmt.Errorf("%w: the manifest has %d bytes", ErrTooLarge, len(file))
	}
	return file, sha256, nil
}

// decodeManifest reads a manifest file. Newer formats are refused before
// anything else is looked at; fields that format 1 does not know are ignored.
func decodeManifest(file []byte) (m *Manifest, sha256 string, err error) {
	version := versionRE.FindSubmatch(file)
	if version == nil {
		return nil, "", fmt.Errorf("%w: it does not begin with a format version", ErrDamaged)
	}
	if n, err := strconv.Atoi(string(version[1])); err != nil || n > FormatVersion {
		return nil, "", fmt.Errorf("%w (format %s, this one knows %d)", ErrNewerFormat, version[1], FormatVersion)
	}
	sum := sumRE.FindSubmatch(file)
	if sum == nil {
		return nil, "", fmt.Errorf("%w: it has no checksum", ErrDamaged)
	}
	sha256 = string(sum[1])
	body, headOK := bytes.CutPrefix(file, fmt.Appendf(nil, manifestHead, FormatVersion, sha256))
	body, tailOK := bytes.CutSuffix(body, []byte(manifestTail))
	if !headOK || !tailOK || sumOf(body) != sha256 {
		return nil, "", fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	m = new(Manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return m, sha256, m.Check()
}
