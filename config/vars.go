package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// expander replaces ${VAR}, ${VAR:-default} and ${file:PATH} in scalars, after
// the YAML has been parsed: a value can never become YAML (D6). $${ is ${.
type expander struct {
	dir    string // relative paths of files are below the file they stand in
	lookup func(string) (string, bool)
	read   func(string) ([]byte, error)
	found  *[]string // the values put in so far
}

func newExpander(dir string) expander {
	return expander{dir: dir, lookup: os.LookupEnv, read: os.ReadFile, found: new([]string)}
}

// definition is the text that defines a job: its file, and where variables were
// replaced a hash of their values. Two processes with other values run other
// jobs, and values may be secret.
func (x expander) definition(src []byte) string {
	if len(*x.found) == 0 {
		return string(src)
	}
	h := sha256.New()
	for _, v := range *x.found {
		fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return fmt.Sprintf("%s\n# values of variables: sha256 %x\n", src, h.Sum(nil))
}

// maxSecret bounds what ${file:...} reads.
const maxSecret = 64 << 10

// expand returns the text with its variables replaced. Where that fails, at is
// the place of the variable in s.
func (x expander) expand(s string) (out string, at int, err error) {
	var b strings.Builder
	for i := 0; i < len(s); {
		j := strings.Index(s[i:], "${")
		if j < 0 {
			b.WriteString(s[i:])
			break
		}
		j += i
		if j > 0 && s[j-1] == '$' {
			b.WriteString(s[i:j-1] + "${")
			i = j + 2
			continue
		}
		b.WriteString(s[i:j])
		end := strings.IndexByte(s[j:], '}')
		if end < 0 {
			return "", j, fmt.Errorf("a variable that begins with ${ ends with }")
		}
		v, err := x.value(s[j+2 : j+end])
		if err != nil {
			return "", j, err
		}
		*x.found = append(*x.found, v)
		b.WriteString(v)
		i = j + end + 1
	}
	return b.String(), 0, nil
}

func (x expander) value(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		return x.file(path)
	}
	name, def, hasDefault := strings.Cut(name, ":-")
	if name == "" || strings.ContainsAny(name, " :-$") {
		return "", fmt.Errorf("%q is no name of a variable; there is ${VAR}, ${VAR:-default} and ${file:PATH}", name)
	}
	if v, ok := x.lookup(name); ok && (v != "" || !hasDefault) {
		return v, nil
	}
	if hasDefault {
		return def, nil
	}
	return "", fmt.Errorf("the environment variable %s is not set, and has no default: ${%s:-default}", name, name)
}

func (x expander) file(path string) (string, error) {
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(x.dir, full)
	}
	b, err := x.read(full)
	if err != nil {
		return "", fmt.Errorf("the file of a ${file:...} cannot be read: %w", err)
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("the file %s has more than %d bytes", path, maxSecret)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
