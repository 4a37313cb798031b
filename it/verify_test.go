package it

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// settle is how long it may take until the last transaction is resolved: that
// of a process killed last lives until its timeout.
const settle = 30 * time.Second

// verify compares everything the job left behind with the model: the output,
// what the reader saw during the faults, the changelog, and, if nothing runs
// any more, the store directories. It waits for the job to have done all.
func (j *job) verify() {
	j.t.Helper()
	input := j.read(j.In)
	j.verifyOutput(input)
	j.verifySettled()
	j.verifyChangelog(input, nil)
	for _, p := range j.procs {
		if p.Running() {
			return
		}
	}
	j.verifyStores(input, j.data)
}

func (j *job) read(topics ...string) []*kgo.Record {
	j.t.Helper()
	records, err := j.kafka.ReadAll(within(j.t, time.Minute), topics...)
	must(j.t, err)
	return records
}

// verifyOutput wants exactly the model's alarms, record for record per room,
// and the same from the reader that read during the faults.
func (j *job) verifyOutput(input []*kgo.Record) {
	j.t.Helper()
	alarms, _, err := replay(input, nil)
	must(j.t, err)
	output := j.read(j.Out)
	must(j.t, sameAlarms(output, alarms))
	if len(output) == 0 {
		j.t.Error("the model expects no alarm at all: this proves nothing")
	}
	j.t.Logf("%d events, %d alarms", len(input), len(output))
	if j.out != nil {
		j.verifyReader(output)
	}
}

// verifyReader wants the reader that read during the faults to have seen what
// is read after them.
func (j *job) verifyReader(output []*kgo.Record) {
	j.t.Helper()
	ends, err := j.kafka.Admin.ListEndOffsets(j.t.Context(), j.Out)
	must(j.t, err)
	for p, end := range ends[j.Out] {
		if end.Offset == 0 {
			delete(ends[j.Out], p)
		}
	}
	must(j.t, j.out.ReachEnds(within(j.t, settle), ends))
	must(j.t, sameRecords(j.out.Records(), output))
}

// sameAlarms compares output records with the alarms of each room.
func sameAlarms(output []*kgo.Record, want map[int][]event) error {
	got := map[int][]event{}
	for _, r := range output {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		if string(r.Key) != e.key() || string(r.Value) != e.value() {
			return fmt.Errorf("%s/%d offset %d: key %q, value %q, want %q and %q", r.Topic, r.Partition, r.Offset, r.Key, r.Value, e.key(), e.value())
		}
		got[e.Room] = append(got[e.Room], e)
	}
	var errs []error
	for room := range union(got, want) {
		if err := sameEvents(got[room], want[room]); err != nil {
			errs = append(errs, fmt.Errorf("room %d: %w", room, err))
		}
	}
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more rooms", len(errs)-5))
	}
	return errors.Join(errs...)
}

func union[K comparable, A, B any](a map[K]A, b map[K]B) map[K]struct{} {
	all := map[K]struct{}{}
	for k := range a {
		all[k] = struct{}{}
	}
	for k := range b {
		all[k] = struct{}{}
	}
	return all
}

// sameEvents says at which place two sequences part, and what follows there.
func sameEvents(got, want []event) error {
	for i := range max(len(got), len(want)) {
		if i < len(got) && i < len(want) && got[i] == want[i] {
			continue
		}
		return fmt.Errorf("%d alarms, want %d; from number %d on %v, want %v", len(got), len(want), i,
			got[min(i, len(got)):min(i+4, len(got))], want[min(i, len(want)):min(i+4, len(want))])
	}
	return nil
}

// sameRecords wants what was read during the faults to be what is read after
// them: a reader must never have seen a record that was taken back.
func sameRecords(during, after []*kgo.Record) error {
	during = slices.Clone(during)
	slices.SortFunc(during, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	if len(during) != len(after) {
		return fmt.Errorf("%d records read during the faults, %d after them", len(during), len(after))
	}
	for i, a := range after {
		if d := during[i]; d.Partition != a.Partition || d.Offset != a.Offset || string(d.Value) != string(a.Value) {
			return fmt.Errorf("read during the faults: %d/%d %q; after them: %d/%d %q", d.Partition, d.Offset, d.Value, a.Partition, a.Offset, a.Value)
		}
	}
	return nil
}

// verifySettled wants no transaction open on any topic of the job: readers
// and restores are held back by none.
func (j *job) verifySettled() {
	j.t.Helper()
	eventually(j.t, settle, func() error {
		internal, err := j.kafka.TopicsOf(j.t.Context(), j.group()+".")
		if err != nil {
			return err
		}
		if err := j.kafka.Settled(j.t.Context(), append(internal, j.In, j.Out)...); err != nil {
			return err
		}
		open, err := j.kafka.OpenTransactions(j.t.Context(), j.group()+".")
		if err == nil && len(open) > 0 {
			err = fmt.Errorf("open transactions: %v", open)
		}
		return err
	})
}

// verifyChangelog wants the changelog's replay to be the model's state at the
// offsets, which are the committed ones if upTo is nil.
func (j *job) verifyChangelog(input []*kgo.Record, upTo map[partition]int64) {
	j.t.Helper()
	if upTo == nil {
		upTo = j.committed()
	}
	_, want, err := replay(input, upTo)
	must(j.t, err)
	got, err := changelogRooms(j.read(j.changelog(1, "arm")))
	must(j.t, err)
	if err := differ(got, want); err != nil {
		j.t.Errorf("changelog against the model at the committed offsets: %v", err)
	}
}

// committed are the group's offsets of the input.
func (j *job) committed() map[partition]int64 {
	j.t.Helper()
	at := map[partition]int64{}
	// A process killed a moment ago leaves offsets that wait for its
	// transaction's timeout.
	eventually(j.t, settle, func() error {
		offsets, err := j.kafka.Committed(j.t.Context(), j.group())
		for n, o := range offsets[j.In] {
			at[partition{j.In, n}] = o.At
		}
		return err
	})
	return at
}

// verifyStores wants each store directory to hold the model's state at the
// position that it claims to be at. Its processes must be gone.
func (j *job) verifyStores(input []*kgo.Record, datas ...string) {
	j.t.Helper()
	committed, checked := j.committed(), 0
	for _, data := range datas {
		dirs, err := storeDirs(data, j.Name, "arm")
		must(j.t, err)
		for _, dir := range dirs {
			if len(dir.sources) == 0 {
				continue // a tail was cut short: no position of a transaction
			}
			must(j.t, notAbove(dir, committed))
			must(j.t, j.sameStore(dir, input))
			checked++
		}
	}
	if checked == 0 {
		j.t.Error("no store directory with a position: this proves nothing")
	}
}

// notAbove wants a store to hold nothing that was not committed (S1).
func notAbove(dir storeDir, committed map[partition]int64) error {
	for p, at := range dir.sources {
		if at > committed[p] {
			return fmt.Errorf("%s is at offset %d of partition %d, but only %d is committed", dir.path, at, p.n, committed[p])
		}
	}
	return nil
}

func (j *job) sameStore(dir storeDir, input []*kgo.Record) error {
	_, want, err := replay(input, dir.sources)
	if err != nil {
		return err
	}
	if err := differ(dir.rooms, want); err != nil {
		return fmt.Errorf("%s at %v: %w", dir.path, dir.sources, err)
	}
	return nil
}

// TestVerifierSeesFaults breaks outputs on purpose: a verifier that lets them
// pass would make all tests here worthless.
func TestVerifierSeesFaults(t *testing.T) {
	const room = 3
	input := []*kgo.Record{}
	for i, e := range []event{{"activate", room, 0}, {"motion", room, 6000}, {"motion", room, 7000}, {"motion", room, 8000}} {
		r := e.record("in")
		r.Offset = int64(i)
		input = append(input, r)
	}
	alarms, rooms, err := replay(input, nil)
	must(t, err)
	var right []*kgo.Record
	for _, e := range alarms[room] {
		right = append(right, e.record("out"))
	}
	if len(right) != 3 || rooms[room] != (armed{true, 0}) {
		t.Fatalf("the model is broken: %v %v", alarms, rooms)
	}
	must(t, sameAlarms(right, alarms))
	otherKey := *right[2]
	otherKey.Key = []byte("4")
	for name, output := range map[string][]*kgo.Record{
		"lost":         {right[0], right[2]},
		"lost at end":  {right[0], right[1]},
		"doubled":      {right[0], right[1], right[1], right[2]},
		"out of order": {right[1], right[0], right[2]},
		"wrong key":    {right[0], right[1], &otherKey},
		"never":        nil,
	} {
		if sameAlarms(output, alarms) == nil {
			t.Errorf("%s: not seen", name)
		}
	}
	if sameRecords(right[:2], right) == nil {
		t.Error("a shorter view: not seen")
	}
	early, _, err := replay(input, map[partition]int64{{"in", 0}: 2})
	must(t, err)
	if len(early[room]) != 1 {
		t.Errorf("up to offset 2 the model rings %d times", len(early[room]))
	}
	if differ(house{1: {true, 5}}, house{1: {true, 6}}) == nil || differ(house{}, house{1: {}}) == nil || differ(house{1: {}}, house{}) == nil {
		t.Error("another state: not seen")
	}
}
