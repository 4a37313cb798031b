package topology_test

import (
	"testing"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

func TestKeyOf(t *testing.T) {
	type event struct {
		Room int `json:"room"`
	}
	job := topology.New("keys")
	keyed := topology.From(job, "keyed", codec.JSON[event](), topology.PartitionedBy(func(e event) int { return e.Room }))
	topology.To(keyed, "out", codec.JSON[event]())
	raw := topology.From(job, "raw", codec.JSON[event]())
	topology.To(raw, "out-raw", codec.JSON[event]())
	plan, err := job.Plan()
	if err != nil {
		t.Fatal(err)
	}
	keyOf := plan.KeyOf("keyed")
	if key, err := keyOf([]byte(`{"room":17}`)); string(key) != "17" || err != nil {
		t.Errorf("key of room 17: %q, %v", key, err)
	}
	if _, err := keyOf([]byte(`{`)); err == nil {
		t.Error("a value that does not decode: no error")
	}
	if plan.KeyOf("raw") != nil || plan.KeyOf("out") != nil {
		t.Error("a topic without a key field has a key")
	}
}
