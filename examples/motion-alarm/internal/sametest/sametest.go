// Package sametest tests that a job in Go is what a job file is, so that a
// running job can change from one to the other.
package sametest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/avro"

	"github.com/procd/procd/config"
	"github.com/procd/procd/topology"
)

// Check compares uids, keys and types of state, and what comes out for the same
// events.
func Check(t *testing.T, job *topology.Job, file string) {
	t.Helper()
	inYAML, err := config.Parse("job.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	a, b := driver(t, job), driver(t, inYAML.Job())
	if a, b := stores(t, a), stores(t, b); !reflect.DeepEqual(a, b) {
		t.Errorf("stores in Go %+v, in YAML %+v", a, b)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for at := range 20_000 {
		kind := []string{"activate", "deactivate", "heartbeat", "motion", "motion", "motion"}[random.IntN(6)]
		room := random.IntN(20)
		for _, d := range []*topology.Driver{a, b} {
			if err := d.Send("alarm-events", fmt.Append(nil, room), fmt.Appendf(nil, `{"type":%q,"room":%d,"time":%d}`, kind, room, 50*at), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(a.Outputs("alarms")) == 0 {
		t.Error("no alarm at all")
	}
	if !reflect.DeepEqual(a.Outputs("alarms"), b.Outputs("alarms")) {
		t.Errorf("%d alarms in Go, %d in YAML, or not the same ones", len(a.Outputs("alarms")), len(b.Outputs("alarms")))
	}
}

func driver(t *testing.T, job *topology.Job) *topology.Driver {
	t.Helper()
	d, err := topology.NewDriver(job)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// store is what has to be the same of one.
type store struct {
	uid, stage, keys string
	fields           []avro.SchemaField
}

func stores(t *testing.T, d *topology.Driver) (all []store) {
	t.Helper()
	for _, s := range d.Plan().Stores {
		schema, err := avro.Parse(s.Schema)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, store{s.UID, s.Stage, s.KeyType, schema.Root().Fields})
	}
	return all
}
