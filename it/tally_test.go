package it

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/kstate"
)

// tallyYAML is a job whose state and output show every record that a room has
// seen, and which version of the job saw it: each version counts by a step of
// its own. A disarmed room has no state. What a room's events add up to, in
// whatever generation, is in the digits.
const tallyYAML = `job: {{.Name}}
guarantees: {commit: %s}
input:
  topic: {{.In}}
  format: json
  fields: {type: string, room: int, time: long}
  key: room
  time: {field: time, out-of-order: 5s}
steps:
  - process: arm
    state: {since: long, motion: long}
    rules:
      - when: type == "deactivate"
        clear: true
      - set: {since: time, motion: state.motion + %d}
        emit: {type: string(state.motion), room, time}
output: {topic: {{.Out}}, format: json, key: room}
`

func tallying(step int64, commit time.Duration) *template.Template {
	return template.Must(template.New("tally").Parse(fmt.Sprintf(tallyYAML, commit, step)))
}

// life is a generation of a tallying job, as the model has it.
type life struct {
	step  int64
	base  map[int]room // the rooms that it began with
	from  map[partition]int64
	to    map[partition]int64 // where it ended; nil: it has not
	saved []taken             // savepoints taken of it
}

// tally processes the input from offsets on, nil the beginning, up to others, nil
// the end.
func (h *history) tally(input []*kgo.Record, from, to map[partition]int64, step int64) error {
	return eachBetween(input, from, to, func(e event) {
		if e.Type == "deactivate" {
			delete(h.rooms, e.Room)
			return
		}
		state := room{Since: e.Time, Motion: h.rooms[e.Room].Motion + step}
		h.rooms[e.Room] = state
		h.alarms[e.Room] = append(h.alarms[e.Room], event{strconv.FormatInt(state.Motion, 10), e.Room, e.Time})
	})
}

// rooms is the state of a life at offsets, nil the end of the input.
func (l *life) rooms(input []*kgo.Record, at map[partition]int64) (map[int]room, error) {
	h := newHistory()
	maps.Copy(h.rooms, l.base)
	err := h.tally(input, l.from, at, l.step)
	return h.rooms, err
}

// checkSaved compares every savepoint of a life with the model.
func (l *life) checkSaved(input []*kgo.Record) error {
	var errs []error
	for _, s := range l.saved {
		rooms, err := l.rooms(input, s.offsets)
		errs = append(errs, err, sameRooms(s, rooms))
	}
	return errors.Join(errs...)
}

// outputs are the alarms of all lives, one after the other.
func outputs(input []*kgo.Record, lives []*life) (map[int][]event, error) {
	h := newHistory()
	for _, l := range lives {
		h.rooms = maps.Clone(l.base)
		if h.rooms == nil {
			h.rooms = map[int]room{}
		}
		if err := h.tally(input, l.from, l.to, l.step); err != nil {
			return nil, err
		}
	}
	return h.alarms, nil
}

// rise starts the next life from a savepoint of the one before: the model of it.
func rise(input []*kgo.Record, of *life, s taken, step int64) (*life, error) {
	base, err := of.rooms(input, s.offsets)
	return &life{step: step, base: base, from: s.offsets}, err
}

// changelogTally replays the changelog of a generation.
func (j *job) changelogTally(g int) map[int]room {
	j.t.Helper()
	rooms, decoders := map[int]room{}, map[int32]stateDecoder{}
	for _, r := range j.read(j.changelog(g, "arm")) {
		d := decoders[r.Partition]
		if d == nil {
			d = stateDecoder{}
			decoders[r.Partition] = d
		}
		must(j.t, tallyChange(rooms, d, r))
	}
	return rooms
}

func tallyChange(rooms map[int]room, d stateDecoder, r *kgo.Record) error {
	change, err := kstate.ParseChangelog(r.Key, r.Value)
	if err != nil {
		return err
	}
	if change.Schema {
		return d.schema(change.Version, string(change.Data))
	}
	n, err := strconv.Atoi(string(change.Key))
	if err != nil {
		return err
	}
	if change.Deleted {
		delete(rooms, n)
		return nil
	}
	fields, err := d.fields(change.Version, change.Data)
	if err != nil {
		return err
	}
	since, _ := fields["since"].(int64)
	motion, _ := fields["motion"].(int64)
	rooms[n] = room{Since: since, Motion: motion}
	return nil
}

// swept is what the newest position record of a task says of its savepoint.
type swept struct {
	Cursors  map[string][]byte
	Detached bool
	Clean    bool
}

// sweeps reads how far the tasks of a generation have come, by partition.
func (j *job) sweeps(g int) (map[int32]swept, error) {
	topic := fmt.Sprintf("procd.%s.g%d.positions", j.Name, g)
	records, err := j.kafka.ReadAll(within(j.t, 30*time.Second), topic)
	if err != nil {
		return nil, err
	}
	found := map[int32]swept{}
	for _, r := range records {
		var position struct{ Base swept }
		if err := json.Unmarshal(r.Value, &position); err != nil {
			return nil, err
		}
		found[r.Partition] = position.Base
	}
	return found, nil
}

// waitSwept waits until as many tasks of a generation as given are as wanted.
func (j *job) waitSwept(g int, tasks int32, what string, is func(swept) bool) {
	j.t.Helper()
	j.eventually(time.Minute, func() error {
		found, err := j.sweeps(g)
		if err != nil {
			return err
		}
		n := int32(0)
		for _, s := range found {
			if is(s) {
				n++
			}
		}
		if n < tasks {
			return fmt.Errorf("%d of %d tasks are %s: %+v", n, tasks, what, found)
		}
		return nil
	})
}

func hasBegun(swept) bool     { return true }
func isSweeping(s swept) bool { return len(s.Cursors) > 0 && !s.Detached }
func isDetached(s swept) bool { return s.Detached }
func isClean(s swept) bool    { return s.Clean }

// compactsSoon makes the broker compact a changelog as soon as it can, and
// forget tombstones after they have been there for the given time.
func (j *job) compactsSoon(g int, deleteRetention time.Duration) {
	j.t.Helper()
	set := func(pairs ...string) (configs []kadm.AlterConfig) {
		for i := 0; i < len(pairs); i += 2 {
			configs = append(configs, kadm.AlterConfig{Op: kadm.SetConfig, Name: pairs[i], Value: &pairs[i+1]})
		}
		return configs
	}
	topic := set("segment.ms", "500", "min.cleanable.dirty.ratio", "0.01", "max.compaction.lag.ms", "1000",
		"delete.retention.ms", strconv.FormatInt(deleteRetention.Milliseconds(), 10))
	ctx := within(j.t, 30*time.Second)
	altered, err := j.kafka.Admin.AlterTopicConfigs(ctx, topic, j.changelog(g, "arm"))
	must(j.t, err)
	for _, a := range altered {
		must(j.t, a.Err)
	}
	// Of all brokers: the cleaner otherwise looks every 15 s.
	altered, err = j.kafka.Admin.AlterBrokerConfigs(ctx, set("log.cleaner.backoff.ms", "300"))
	must(j.t, err)
	for _, a := range altered {
		must(j.t, a.Err)
	}
}

// changes are the records of a changelog that are about keys, by partition.
func (j *job) changes(g int) (map[int32][]change, error) {
	found := map[int32][]change{}
	for _, r := range j.read(j.changelog(g, "arm")) {
		c, err := kstate.ParseChangelog(r.Key, r.Value)
		if err != nil {
			return nil, err
		}
		if c.Schema {
			continue
		}
		n, err := strconv.Atoi(string(c.Key))
		if err != nil {
			return nil, err
		}
		found[r.Partition] = append(found[r.Partition], change{n, r.Offset, c.Deleted})
	}
	return found, nil
}

type change struct {
	room    int
	offset  int64
	deleted bool
}

// waitCompacted waits until compaction has gone past the last change of each of
// the rooms: up to there no key is in the changelog twice. With gone, nothing at
// all may be left of the rooms: neither value nor marker nor tombstone.
func (j *job) waitCompacted(g int, rooms []int, gone bool) {
	j.t.Helper()
	wanted := map[int]bool{}
	for _, room := range rooms {
		wanted[room] = true
	}
	j.eventually(2*time.Minute, func() error {
		all, err := j.changes(g)
		if err != nil {
			return err
		}
		for p, changes := range all {
			last := -1
			for i, c := range changes {
				if wanted[c.room] {
					last = i
				}
			}
			if gone && last >= 0 {
				return fmt.Errorf("%+v is still in the changelog of partition %d", changes[last], p)
			}
			seen := map[int]bool{}
			for _, c := range changes[:last+1] {
				if seen[c.room] {
					return fmt.Errorf("partition %d is not compacted up to offset %d: room %d", p, changes[last].offset, c.room)
				}
				seen[c.room] = true
			}
		}
		return nil
	})
}

// sameTally compares states room by room.
func sameTally(what string, got, want map[int]room) error {
	return sameRooms(taken{id: what, rooms: got}, want)
}

// TestTallyModelSeesFaults breaks what the model compares with.
func TestTallyModelSeesFaults(t *testing.T) {
	var input []*kgo.Record
	for i, e := range []event{{"activate", 1, 10}, {"motion", 1, 11}, {"deactivate", 2, 12}, {"motion", 2, 13}, {"deactivate", 1, 14}, {"motion", 1, 15}} {
		r := e.record("in")
		r.Offset = int64(i)
		input = append(input, r)
	}
	at := func(n int64) map[partition]int64 { return map[partition]int64{{"in", 0}: n} }
	first := &life{step: 1, to: at(5)}
	rooms, err := first.rooms(input, at(4))
	must(t, err)
	if want := map[int]room{1: {Since: 11, Motion: 2}, 2: {Since: 13, Motion: 1}}; !maps.Equal(rooms, want) {
		t.Fatalf("%v, want %v", rooms, want)
	}
	first.saved = []taken{{id: "s", offsets: at(4), rooms: maps.Clone(rooms)}}
	must(t, first.checkSaved(input))
	second, err := rise(input, first, first.saved[0], 100)
	must(t, err)
	alarms, err := outputs(input, []*life{first, second})
	must(t, err)
	if got, want := fmt.Sprint(alarms), "map[1:[{1 1 10} {2 1 11} {100 1 15}] 2:[{1 2 13}]]"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	first.saved[0].rooms[1] = room{Since: 11, Motion: 102}
	if err := first.checkSaved(input); err == nil || !strings.Contains(err.Error(), "room 1") {
		t.Errorf("a key of another generation: %v", err)
	}
	first.saved[0].rooms = map[int]room{1: rooms[1]}
	if first.checkSaved(input) == nil {
		t.Error("a lost key: not seen")
	}
}
