package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

// workload is one job with its input and the model that judges its output.
type workload struct {
	name string
	job  func(in, out string) *topology.Job
	// record makes the i-th input record; it is the same in every run.
	record func(i int) (key, value []byte)
	// model returns the number of outputs and the sum over them of what weigh
	// returns.
	model func(records int) (outputs int, sum uint64)
	weigh func(value []byte) (uint64, error)
}

var workloads = []workload{alarmWorkload(), countWorkload("count", 10_000), countWorkload("count-1m", 1_000_000)}

func findWorkload(name string) (workload, error) {
	for _, w := range workloads {
		if w.name == name {
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("no workload %q", name)
}

// event is an event of the motion alarm.
type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
	Pad  string `json:"pad,omitempty"`
}

type armed struct {
	Active bool  `avro:"active"`
	Since  int64 `avro:"since"`
}

const rooms = 10_000

// alarmWorkload is the motion alarm, version 1, over events of about 100 bytes.
func alarmWorkload() workload {
	at := func(i int) event {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		e := event{Type: "motion", Room: r.IntN(rooms), Time: int64(i), Pad: "0123456789012345678901234567890123456789"}
		switch r.IntN(10) {
		case 0:
			e.Type = "activate"
		case 1:
			e.Type = "deactivate"
		}
		return e
	}
	return workload{
		name: "alarm",
		job: func(in, out string) *topology.Job {
			job := topology.New("bench-alarm")
			events := topology.From[event](job, in, codec.JSON[event](), topology.PartitionedBy(func(e event) int { return e.Room }))
			alarms := topology.Process(events, "arm", func(c topology.Ctx[armed, event], e event) {
				switch e.Type {
				case "activate":
					c.Set(armed{true, e.Time})
				case "deactivate":
					c.Set(armed{false, e.Time})
				case "motion":
					if c.State().Active {
						c.Emit(event{Type: "ALARM", Room: e.Room, Time: e.Time})
					}
				}
			})
			topology.To(alarms, out, codec.JSON[event]())
			return job
		},
		record: func(i int) (key, value []byte) {
			e := at(i)
			return strconv.AppendInt(nil, int64(e.Room), 10),
				fmt.Appendf(nil, `{"type":%q,"room":%d,"time":%d,"pad":%q}`, e.Type, e.Room, e.Time, e.Pad)
		},
		model: func(records int) (outputs int, sum uint64) {
			active := [rooms]bool{}
			for i := range records {
				switch e := at(i); e.Type {
				case "activate":
					active[e.Room] = true
				case "deactivate":
					active[e.Room] = false
				default:
					if active[e.Room] {
						outputs++
						sum += uint64(e.Room) + uint64(e.Time)
					}
				}
			}
			return outputs, sum
		},
		weigh: func(value []byte) (uint64, error) {
			var e event
			err := json.Unmarshal(value, &e)
			return uint64(e.Room) + uint64(e.Time), err
		},
	}
}

// countWorkload counts records per key and emits every update.
func countWorkload(name string, keys int) workload {
	keyOf := func(i int) int { return int(rand.New(rand.NewPCG(uint64(i), 11)).Uint64() % uint64(keys)) }
	return workload{
		name: name,
		job: func(in, out string) *topology.Job {
			job := topology.New("bench-" + name)
			counts := topology.Process(topology.From[[]byte](job, in, codec.Bytes()), "counts", func(c topology.Ctx[int64, int64], _ []byte) {
				n := c.State() + 1
				c.Set(n)
				c.Emit(n)
			})
			topology.To(counts, out, codec.Int64())
			return job
		},
		record: func(i int) (key, value []byte) {
			value = make([]byte, 100)
			for j := range value {
				value[j] = byte(i + j)
			}
			return strconv.AppendInt(nil, int64(keyOf(i)), 10), value
		},
		model: func(records int) (outputs int, sum uint64) {
			counts := make([]uint64, keys)
			for i := range records {
				k := keyOf(i)
				counts[k]++
				sum += counts[k]
			}
			return records, sum
		},
		weigh: func(value []byte) (uint64, error) {
			if len(value) != 8 {
				return 0, fmt.Errorf("output of %d bytes", len(value))
			}
			return binary.BigEndian.Uint64(value), nil
		},
	}
}
