package main

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"

	"github.com/procd/procd/topology"
)

// workload is one job with its input and the model that judges its output.
type workload struct {
	name  string
	kind  string // what the job does; peers know it by this name
	input *input
	// job is procd's; yaml is used instead where it is given.
	job  func(name, in, out string) *topology.Job
	yaml func(name, in, out string) string
	// peersOf is the workload whose peers this one is compared with; empty: its
	// own. Where it is given only procd runs.
	peersOf string
	// model is what the output has to be.
	model func(in *input, records int) tally
	// weigh turns an output into a number that says what is in it.
	weigh func(value []byte) (uint64, error)
}

// tally is a number of outputs and two sums over them, in which their order
// does not matter: of what they weigh, and of hashes of key and weight.
type tally struct {
	n         int
	sum, hash uint64
}

func (t *tally) add(key []byte, weight uint64) {
	t.n++
	t.sum += weight
	t.hash += mix(xxhash.Sum64(key), weight)
}

func (t tally) String() string {
	return fmt.Sprintf("%d outputs, sum %d, hash %x", t.n, t.sum, t.hash)
}

// The kinds of workloads.
const (
	kindCopy      = "copy"
	kindCount     = "count"
	kindAlarm     = "alarm"
	kindTwoStages = "two-stages"
)

// drains are the workloads that work off a topic as fast as they can. Those
// with the same input follow each other.
var drains = []*workload{
	{name: "copy-100", kind: kindCopy, input: small, job: copyJob, model: copyModel, weigh: weighCopy},
	count10k,
	{name: "two-stages", kind: kindTwoStages, input: small, job: twoStagesJob, model: twoStagesModel, weigh: weighCount},
	{name: "copy-1k", kind: kindCopy, input: large, job: copyJob, model: copyModel, weigh: weighCopy},
	countOf("count-1m", wide),
	countOf("count-zipf", skewed),
	{name: "alarm", kind: kindAlarm, input: alarms, job: alarmJob, model: alarmModel, weigh: weighAlarm},
	{name: "alarm-yaml", kind: kindAlarm, input: alarms, yaml: alarmYAML, peersOf: "alarm", model: alarmModel, weigh: weighAlarm},
}

var count10k = countOf("count-10k", small)

func countOf(name string, in *input) *workload {
	return &workload{name: name, kind: kindCount, input: in, job: countJob, model: countModel, weigh: weighCount}
}

// matching are the workloads whose names match.
func matching(all []*workload, re *regexp.Regexp) (found []*workload) {
	for _, w := range all {
		if re.MatchString(w.name) {
			found = append(found, w)
		}
	}
	return found
}

func copyModel(in *input, records int) (t tally) {
	for i := range records {
		key, value := in.record(i)
		t.add(key, xxhash.Sum64(value))
	}
	return t
}

func weighCopy(value []byte) (uint64, error) { return xxhash.Sum64(value), nil }

func countModel(in *input, records int) (t tally) {
	counts := make([]uint64, in.keys)
	var key []byte
	for i := range records {
		k := in.key(i)
		counts[k]++
		key = strconv.AppendInt(key[:0], int64(k), 10)
		t.add(key, counts[k])
	}
	return t
}

func twoStagesModel(in *input, records int) (t tally) {
	counts := make([]uint64, users)
	var key []byte
	for i := range records {
		u := in.user(i)
		counts[u]++
		key = appendUser(key[:0], u)
		t.add(key, counts[u])
	}
	return t
}

func weighCount(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("a count of %d bytes", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// weighCountJSON is weighCount of a count in JSON.
func weighCountJSON(value []byte) (uint64, error) {
	var v struct {
		N uint64 `json:"n"`
	}
	err := json.Unmarshal(value, &v)
	return v.N, err
}

// alarmModel is the motion alarm over a map.
func alarmModel(in *input, records int) (t tally) {
	states := make([]armed, in.keys)
	var key []byte
	for i := range records {
		e := in.at(i)
		s := &states[e.Room]
		switch e.Type {
		case "activate":
			*s = armed{true, e.Time}
		case "deactivate":
			*s = armed{false, e.Time}
		default:
			if s.Active && e.Time-s.Since > exitDelay {
				key = strconv.AppendInt(key[:0], int64(e.Room), 10)
				t.add(key, weight(e))
			}
		}
	}
	return t
}

func weight(e event) uint64 { return uint64(e.Time)*rooms + uint64(e.Room) }

func weighAlarm(value []byte) (uint64, error) {
	var e event
	if err := json.Unmarshal(value, &e); err != nil {
		return 0, err
	}
	if e.Type != "ALARM" {
		return 0, fmt.Errorf("an output of type %q", e.Type)
	}
	return weight(e), nil
}
