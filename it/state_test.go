package it

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/kstate"
)

// stateDecoder decodes states with goavro, which procd does not write with.
type stateDecoder map[int]*goavro.Codec

func (d stateDecoder) schema(version int, text string) error {
	codec, err := goavro.NewCodec(text)
	if err != nil {
		return fmt.Errorf("schema version %d: %w", version, err)
	}
	d[version] = codec
	return nil
}

// fields decodes a state; a field that was never set is absent.
func (d stateDecoder) fields(version int, data []byte) (map[string]any, error) {
	codec := d[version]
	if codec == nil {
		return nil, fmt.Errorf("no schema of version %d before its first use (P18)", version)
	}
	native, rest, err := codec.NativeFromBinary(data)
	if err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("state %x: %d bytes left, %w", data, len(rest), err)
	}
	fields := map[string]any{}
	for name, value := range native.(map[string]any) {
		if union, ok := value.(map[string]any); ok {
			for _, value = range union {
			}
		}
		if value != nil {
			fields[name] = value
		}
	}
	return fields, nil
}

func (d stateDecoder) armed(version int, data []byte) (armed, error) {
	fields, err := d.fields(version, data)
	if err != nil {
		return armed{}, err
	}
	active, _ := fields["active"].(bool)
	since, _ := fields["since"].(int64)
	return armed{active, since}, nil
}

// changelogRooms replays a changelog: the state of each room after the last
// record. Each partition is decoded with its own schema records only.
func changelogRooms(records []*kgo.Record) (house, error) {
	rooms := house{}
	decoders := map[int32]stateDecoder{}
	for _, r := range records {
		d := decoders[r.Partition]
		if d == nil {
			d = stateDecoder{}
			decoders[r.Partition] = d
		}
		if err := applyChange(rooms, d, r.Key, r.Value); err != nil {
			return nil, fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	return rooms, nil
}

func applyChange(rooms house, d stateDecoder, key, value []byte) error {
	change, err := kstate.ParseChangelog(key, value)
	if err != nil {
		return err
	}
	if change.Schema {
		return d.schema(change.Version, string(change.Data))
	}
	room, err := strconv.Atoi(string(change.Key))
	if err != nil {
		return fmt.Errorf("key %q is no room", change.Key)
	}
	if change.Deleted {
		delete(rooms, room)
		return nil
	}
	rooms[room], err = d.armed(change.Version, change.Data)
	return err
}

// storeDir is a store directory of a process that is gone, read as bytes: by
// docs/format, not by kstate.
type storeDir struct {
	path    string
	sources map[partition]int64 // the position it claims to be at; nil: none
	rooms   house
}

// storeDirs reads all directories of a store under a data directory.
func storeDirs(data, job, store string) ([]storeDir, error) {
	paths, err := filepath.Glob(filepath.Join(data, job, "seat-*", "g*", store, "*"))
	if err != nil {
		return nil, err
	}
	var dirs []storeDir
	for _, path := range paths {
		if !finished(path) {
			continue // never used (P17)
		}
		dir, err := readStoreDir(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// finished says whether a store's directory is whole: what makes it so is written
// last (docs/format/store-directory.md).
func finished(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "procd-store-format"))
	return err == nil
}

func readStoreDir(path string) (dir storeDir, err error) {
	db, err := openPebble(path)
	if err != nil {
		return dir, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	dir = storeDir{path: path, rooms: house{}}
	iter, err := db.NewIter(nil)
	if err != nil {
		return dir, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	d := stateDecoder{}
	for ok := iter.First(); ok; ok = iter.Next() {
		key, value := iter.Key(), iter.Value()
		switch {
		case key[0] != 0xff:
			err = applyChange(dir.rooms, d, key, value)
		case string(key[1:]) == "position":
			dir.sources, err = parseSources(value)
		}
		if err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// openPebble opens a copy: opening writes, and a test only looks.
func openPebble(path string) (*pebble.DB, error) {
	copied, err := os.MkdirTemp(run.dir, "store-")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
		return nil, err
	}
	return pebble.Open(copied, &pebble.Options{DisableWAL: true, Logger: quiet{}})
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func parseSources(value []byte) (map[partition]int64, error) {
	var stored struct {
		Sources []struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
		} `json:"sources"`
	}
	if err := json.Unmarshal(value, &stored); err != nil {
		return nil, err
	}
	sources := map[partition]int64{}
	for _, s := range stored.Sources {
		sources[partition{s.Topic, s.Partition}] = s.Offset
	}
	return sources, nil
}

// differ names the first rooms whose state is not as it should be.
func differ(got, want house) error {
	var diffs []string
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, room := range slices.Sorted(maps.Keys(all)) {
		g, gotIt := got[room]
		w, wantIt := want[room]
		if g != w || gotIt != wantIt {
			diffs = append(diffs, fmt.Sprintf("room %d: %+v (%v), want %+v (%v)", room, g, gotIt, w, wantIt))
		}
	}
	if len(diffs) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d rooms differ: %v", len(diffs), len(all), diffs[:min(5, len(diffs))])
}
