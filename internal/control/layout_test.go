package control

import (
	"errors"
	"strings"
	"testing"
)

// Two repartitions in a row behind sources of different widths: a stage is as
// wide as what feeds it, its changelog as wide as the stage, and the positions
// topic as the widest.
func TestLayOut(t *testing.T) {
	d := Definition{
		Stages: []StageDefinition{
			{ID: "by:last", Repartitions: []string{"last"}}, // the plan's order need not be the records'
			{ID: "in:wide", Sources: []string{"wide"}, Feeds: []string{"room"}},
			{ID: "in:small", Sources: []string{"small"}, Feeds: []string{"room"}},
			{ID: "by:room", Repartitions: []string{"room"}, Feeds: []string{"last"}},
		},
		Stores: []StoreDefinition{{UID: "arm", Stage: "in:small"}, {UID: "total", Stage: "by:last"}},
	}
	stages, topics, err := layOut(d, "job", 3, map[string]int32{"wide": 6, "small": 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stages {
		want := map[string]int32{"by:last": 6, "in:wide": 6, "in:small": 2, "by:room": 6}[s.ID]
		if s.Partitions != want {
			t.Errorf("stage %s has %d tasks, want %d", s.ID, s.Partitions, want)
		}
	}
	want := map[string]int32{
		"procd.job.g3.room.repartition": 6, "procd.job.g3.last.repartition": 6,
		"procd.job.g3.arm.changelog": 2, "procd.job.g3.total.changelog": 6, "procd.job.g3.positions": 6,
	}
	for _, topic := range topics {
		if n, ok := want[topic.name]; !ok || n != topic.partitions {
			t.Errorf("topic %s with %d partitions", topic.name, topic.partitions)
		}
		delete(want, topic.name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestLayOutRefusesSourcesThatDoNotLineUp(t *testing.T) {
	d := Definition{Stages: []StageDefinition{{ID: "in:a,b", Sources: []string{"a", "b"}}}}
	counts := map[string]int32{"a": 4, "b": 6}
	if stages, _, err := layOut(d, "job", 1, counts); err != nil || stages[0].Partitions != 6 {
		t.Errorf("without state: %v, %v", stages, err)
	}
	d.Stores = []StoreDefinition{{UID: "arm", Stage: "in:a,b"}}
	var refused *Refused
	if _, _, err := layOut(d, "job", 1, counts); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "a has 4 partitions and b has 6") {
		t.Errorf("with state: %v", err)
	}
}

func TestNames(t *testing.T) {
	for topic, want := range map[string]int{
		"procd.alarm.g1.arm.changelog": 1, "procd.alarm.g12.positions": 12,
		"procd.alarm.control": 0, "procd.alarm2.g1.positions": 0, "procd.alarm.gx.positions": 0, "procd.alarm.g1": 0,
	} {
		if g, ok := topicGeneration("alarm", topic); g != want && ok {
			t.Errorf("%s is of generation %d, want %d", topic, g, want)
		} else if ok != (want > 0) {
			t.Errorf("%s: %v", topic, ok)
		}
	}
	for topic, want := range map[string]string{
		"procd.alarm.control": "alarm", "procd..control": "", "procd.a.b.control": "", "alarm.control": "", "procd.alarm.g1.positions": "",
	} {
		if job, ok := jobOfControlTopic(topic); ok != (want != "") || ok && job != want {
			t.Errorf("%s: %q, %v", topic, job, ok)
		}
	}
}
