package main

import (
	"testing"

	motion "github.com/procd/procd/examples/motion-alarm"
	"github.com/procd/procd/examples/motion-alarm/internal/sametest"
	"github.com/procd/procd/topology"
)

// A job's own tests need no broker: the driver runs it in memory.
func TestRingsAfterGrace(t *testing.T) {
	d, err := topology.NewDriver(job())
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{
		`{"type":"motion","room":1,"time":0}`,
		`{"type":"activate","room":1,"time":1000}`,
		`{"type":"motion","room":1,"time":6000}`,
		`{"type":"motion","room":1,"time":6001}`,
		`{"type":"deactivate","room":1,"time":7000}`,
		`{"type":"motion","room":1,"time":20000}`,
	} {
		if err := d.Send("alarm-events", []byte("1"), []byte(event), -1); err != nil {
			t.Fatal(err)
		}
	}
	alarms := d.Outputs("alarms")
	if len(alarms) != 1 || alarms[0].String() != `1: {"type":"ALARM","room":1,"time":6001}` {
		t.Errorf("alarms %v", alarms)
	}
	if rooms, err := topology.StateOf[Armed](d, "arm"); err != nil || rooms["1"] != (Armed{false, 7000}) {
		t.Errorf("rooms %v, %v", rooms, err)
	}
}

func TestSameAsYAML(t *testing.T) { sametest.Check(t, job(), motion.V2) }
