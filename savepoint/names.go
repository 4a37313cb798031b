package savepoint

import (
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Names inside of a savepoint.
const (
	manifestName   = "manifest.json"
	definitionName = "definition.txt"
	storesName     = "stores"

	// Only while a savepoint is made.
	tokenName      = "TOKEN"
	deliveriesName = "deliveries"
)

var (
	idRE  = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}$`)
	uidRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	// fileRE allows what procd and Pebble name their files. The upper-case
	// names are spelled out, so that no two names differ only in case.
	fileRE = regexp.MustCompile(`^(?:[a-z0-9][a-z0-9._-]{0,63}|(?:marker\.manifest\.[0-9]{6,20}\.)?MANIFEST-[0-9]{6,20}|OPTIONS-[0-9]{6,20})$`)
	tmpRE  = regexp.MustCompile(`^\.([0-9]{8}T[0-9]{6}Z-[0-9a-f]{4})\.([0-9]{1,9})\.(?:tmp|gone)$`)
)

// NewID makes a savepoint's id from the time of the request and two random
// bytes: 20261122T101530Z-3f9c.
func NewID(at time.Time, random [2]byte) string {
	return at.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:])
}

// IsID says whether a text is a savepoint's id. What is not is a path, or
// `latest`.
func IsID(s string) bool { return idRE.MatchString(s) }

// attemptDir is where an attempt is written before it is complete (P14).
func attemptDir(id string, attempt int) string {
	return fmt.Sprintf(".%s.%d.tmp", id, attempt)
}

// goneDir is where an attempt is moved before it is removed, so that it cannot
// complete halfway through.
func goneDir(id string, attempt int) string {
	return fmt.Sprintf(".%s.%d.gone", id, attempt)
}

// parseTmp reads the name of an unfinished directory.
func parseTmp(name string) (id string, attempt int, ok bool) {
	m := tmpRE.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	attempt, err := strconv.Atoi(m[2])
	return m[1], attempt, err == nil
}

// partDir is a part's directory inside of a savepoint.
func partDir(uid string, partition int32) string {
	return path.Join(storesName, uid, strconv.Itoa(int(partition)))
}

// isTable says whether a file of a store holds rows. Tables are never changed
// once they are written; every other file may be.
func isTable(name string) bool { return strings.HasSuffix(name, ".sst") }
