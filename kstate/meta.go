package kstate

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The store's metadata in Pebble, all of kind kindMeta (S11).
var (
	metaPosition = append([]byte{kindMeta}, "position"...)
	metaIdentity = append([]byte{kindMeta}, "identity"...)
)

// storeFormat is the version of everything in a store directory that procd
// decides on: keys, values, metadata, and Pebble's format major version.
const storeFormat = 1

// formatFile holds storeFormat, outside of Pebble: a version that this Pebble
// cannot open must still be told from damage. It is written last, when all else
// is durable: a directory without it is not finished, and nothing looks further.
const formatFile = "procd-store-format"

// storedPosition is the JSON of metaPosition.
type storedPosition struct {
	Changelog int64          `json:"changelog"`
	Sources   []storedSource `json:"sources,omitempty"`
	CaughtUp  int64          `json:"caught_up_ms"` // epoch ms of the broker's clock; 0: never
}

type storedSource struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// storedIdentity is the JSON of metaIdentity.
type storedIdentity struct {
	Store      string `json:"store"`
	Partition  int32  `json:"partition"`
	Generation int    `json:"generation"`
	TopicID    string `json:"topic_id"` // hex
}

func (id Identity) stored() storedIdentity {
	return storedIdentity{id.Store, id.Partition, id.Generation, hex.EncodeToString(id.TopicID[:])}
}

// writePoint is what a write to Pebble says about itself.
type writePoint struct {
	position Position
	caughtUp time.Time
	schema   SchemaVersion // needed by the values; version 0: none
}

func encodePosition(at writePoint) ([]byte, error) {
	p := storedPosition{Changelog: at.position.Changelog}
	if !at.caughtUp.IsZero() {
		p.CaughtUp = at.caughtUp.UnixMilli()
	}
	for _, s := range at.position.Sources {
		p.Sources = append(p.Sources, storedSource(s))
	}
	return json.Marshal(p)
}

func decodePosition(b []byte) (writePoint, error) {
	var p storedPosition
	if err := json.Unmarshal(b, &p); err != nil {
		return writePoint{}, fmt.Errorf("%w: position: %w", ErrCorrupt, err)
	}
	at := writePoint{position: Position{Changelog: p.Changelog}}
	if p.CaughtUp != 0 {
		at.caughtUp = time.UnixMilli(p.CaughtUp)
	}
	for _, s := range p.Sources {
		at.position.Sources = append(at.position.Sources, SourceOffset(s))
	}
	return at, nil
}

// pairs are a write's metadata.
func (at writePoint) pairs() ([]pair, error) {
	p, err := encodePosition(at)
	if err != nil {
		return nil, err
	}
	pairs := []pair{{metaPosition, p}}
	if at.schema.Version != 0 {
		pairs = append(pairs, pair{AppendSchemaKey(nil, at.schema.Version), []byte(at.schema.Schema)})
	}
	return pairs, nil
}

func (id Identity) pair() (pair, error) {
	v, err := json.Marshal(id.stored())
	return pair{metaIdentity, v}, err
}

// differs says what of an identity is not as it should be; "" if all is.
func (have storedIdentity) differs(want storedIdentity) string {
	switch {
	case have.TopicID != want.TopicID:
		return "topic id differs"
	case have.Generation != want.Generation:
		return "generation differs"
	case have.Store != want.Store:
		return "store differs"
	case have.Partition != want.Partition:
		return "partition differs"
	}
	return ""
}

// writeFormat marks a directory with the format that it is written in.
func (e *Env) writeFormat(dir string) error {
	return writeSmall(e.fs, dir, formatFile, strconv.Itoa(storeFormat)+"\n")
}

// readFormat returns the format of a directory; 0 if it does not say.
func (e *Env) readFormat(dir string) (int, error) {
	text, err := e.readSmall(dir, formatFile)
	return parseFormat(text), err
}

func parseFormat(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 {
		return 0
	}
	return n
}

// readMeta reads what a directory says of itself. found is false where there is
// no position: whatever wrote it did not finish.
func (db *DB) readMeta() (at writePoint, id storedIdentity, found bool, err error) {
	found, err = db.readJSON(metaPosition, func(b []byte) (err error) {
		at, err = decodePosition(b)
		return err
	})
	if err != nil || !found {
		return at, id, false, err
	}
	found, err = db.readJSON(metaIdentity, func(b []byte) error {
		if err := json.Unmarshal(b, &id); err != nil {
			return fmt.Errorf("%w: identity: %w", ErrCorrupt, err)
		}
		return nil
	})
	return at, id, found, err
}

func (db *DB) readJSON(key []byte, parse func([]byte) error) (found bool, err error) {
	value, closer, err := db.get(key)
	if value == nil || err != nil {
		return false, err
	}
	return true, errors.Join(parse(value), closer.Close())
}
