package it

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestP10OutputsEmittedAgain goes back to an older savepoint after a kill in the
// middle of the work, when the second stage has not got yet all that the first
// had consumed for it. Exactly what had been emitted says that it is emitted
// again, and which record of the source it comes from.
func TestP10OutputsEmittedAgain(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Template: floorsYAML})
	j.watch()
	g := newGenerator(run.seed, 300)
	feed := j.feed(g, feedRate)
	p := j.start()
	j.waitOutput(1000, time.Minute)
	stdout := j.output("savepoint", j.Name, "--json")
	var older struct{ ID string }
	must(t, json.Unmarshal([]byte(stdout), &older))
	j.waitOutput(j.out.Count()+5000, time.Minute)
	p.Kill()
	j.ended[p] = true
	ends, err := j.kafka.Admin.ListEndOffsets(t.Context(), j.Out)
	must(t, err)
	p = j.start("--savepoint", older.ID)
	j.waitOutput(j.out.Count()+5000, time.Minute)
	p.Kill()
	j.ended[p] = true
	p = j.start("--savepoint", older.ID) // joins, and knows as much
	j.waitOutput(j.out.Count()+1000, time.Minute)
	must(t, feed.stop())
	j.waitDone(time.Minute)
	eventually(t, time.Minute, func() error {
		return j.kafka.NoLag(t.Context(), j.group(), j.In, fmt.Sprintf("procd.%s.g2.by-floor.repartition", j.Name))
	})
	j.interrupt(p)

	source := map[string]event{} // by topic, partition and offset
	for _, r := range j.read(j.In) {
		e, err := parseEvent(r)
		must(t, err)
		source[fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)] = e
	}
	f := floors{tallies: map[int]map[int]tally{}, emitted: map[int64]bool{}}
	again, fresh := 0, 0
	for _, r := range j.read(j.Out) {
		end, _ := ends.Lookup(r.Topic, r.Partition)
		time := f.motion(t, r)
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		if r.Offset < end.Offset {
			f.emitted[time] = true
			if len(headers) > 0 {
				t.Fatalf("an output of the first generation has headers %v", headers)
			}
			continue
		}
		if !f.emitted[time] {
			fresh++
			if len(headers) > 0 {
				t.Fatalf("%s was not emitted before, and has headers %v", r.Value, headers)
			}
			continue
		}
		again++
		from := source[headers["procd-topic"]+"/"+headers["procd-partition"]+"/"+headers["procd-offset"]]
		if headers["procd-generation"] != "2" || from.Time != time || len(headers) != 4 {
			t.Fatalf("%s, of the motion at %d, was emitted before; its headers are %v, which is %+v", r.Value, time, headers, from)
		}
	}
	if again == 0 || fresh == 0 {
		t.Error("this proves nothing")
	}
	t.Logf("%d outputs of the first generation, then %d again and %d for the first time", len(f.emitted), again, fresh)
}

// floors finds out from the tallies which motion each of them comes from.
type floors struct {
	tallies map[int]map[int]tally // by floor and N, the newest
	emitted map[int64]bool        // times of motions
}

func (f *floors) motion(t *testing.T, r *kgo.Record) (time int64) {
	t.Helper()
	var now tally
	must(t, json.Unmarshal(r.Value, &now))
	if string(r.Key) != strconv.Itoa(now.Floor) {
		t.Fatalf("key %q of %s", r.Key, r.Value)
	}
	if f.tallies[now.Floor] == nil {
		f.tallies[now.Floor] = map[int]tally{}
	}
	before, ok := f.tallies[now.Floor][now.N-1]
	if !ok && now.N > 1 {
		t.Fatalf("%s, and nothing before it", r.Value)
	}
	f.tallies[now.Floor][now.N] = now
	return now.Sum - before.Sum
}
