package topology_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/topology"
)

// Frontiers of many partitions are a list of offsets, which 55 bytes each would
// not be.
func TestFrontiersAsJSON(t *testing.T) {
	at := func(topic string, partition int32, offset int64) kstate.SourceOffset {
		return kstate.SourceOffset{Topic: topic, Partition: partition, Offset: offset}
	}
	for want, f := range map[string]topology.Frontiers{
		`[]`: nil,
		`[{"topic":"a","partition":3,"offsets":[7]}]`:                                               {at("a", 3, 7)},
		`[{"topic":"a","partition":0,"offsets":[5,0,7]},{"topic":"b","partition":1,"offsets":[9]}]`: {at("a", 2, 7), at("b", 1, 9), at("a", 0, 5)},
		`[{"topic":"a","partition":0,"offsets":[5]},{"topic":"a","partition":22,"offsets":[7]}]`:    {at("a", 0, 5), at("a", 22, 7)},
	} {
		got, err := json.Marshal(f)
		if err != nil || string(got) != want {
			t.Errorf("%v: %s, %v; want %s", f, got, err, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 1000 {
		var f topology.Frontiers
		for topic := range random.IntN(3) {
			for partition := range int32(random.IntN(70)) {
				if random.IntN(1+n%30) == 0 {
					f = append(f, at(fmt.Sprint("t", topic), partition, 1+random.Int64N(1<<62)))
				}
			}
		}
		random.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var got topology.Frontiers
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		missing := slices.DeleteFunc(slices.Clone(f), func(s kstate.SourceOffset) bool { return slices.Contains(got, s) })
		if len(got) != len(f) || len(missing) > 0 {
			t.Fatalf("%v was read as %v", f, got)
		}
	}
	for _, bad := range []string{`{}`, `[{"topic":"a","partition":-1,"offsets":[1]}]`, `[{"topic":"a","partition":2147483647,"offsets":[1,2]}]`} {
		var f topology.Frontiers
		if err := json.Unmarshal([]byte(bad), &f); err == nil {
			t.Errorf("%s was read as %v", bad, f)
		}
	}
}
