package it

import (
	"testing"
	"time"
)

// idleLag is how soon after the last record there must be no lag (O8).
const idleLag = 5 * time.Second

// TestIdleLag wants lag 0 on every partition, as an ordinary lag tool counts,
// five seconds after the last record: on inputs written in transactions, whose
// last offset is a marker, and on repartition topics, whose always is.
func TestIdleLag(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Template: floorsYAML})
	j.watch()
	p := j.start()
	g := newGenerator(run.seed, 300)
	for _, produce := range []func([]event){
		func(events []event) { j.produce(events...) },
		func(events []event) {
			must(t, j.kafka.ProduceTransaction(within(t, time.Minute), j.Name+"-source", j.records(events)...))
		},
	} {
		before := j.out.Count()
		produce(g.events(5000))
		j.waitOutput(before, 30*time.Second)
		eventually(t, idleLag, func() error { return j.kafka.NoLag(t.Context(), j.group(), j.In, j.repartition()) })
	}
	j.interrupt(p)
	j.verifyFloors()
}
