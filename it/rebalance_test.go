package it

import (
	"testing"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

// TestJoinAndLeave lets processes join and leave by Ctrl-C, one change every
// second for 20 s, beside one that stays: each guest stays for two seconds.
func TestJoinAndLeave(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Partitions: 6})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	stays := j.metered(j.data + "-stays")
	j.waitEveryPartition(30 * time.Second)

	guests := []*kafkatest.Process{nil, nil}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for change := range 20 {
		<-tick.C
		if guest := &guests[change%len(guests)]; *guest == nil {
			*guest = j.start()
		} else {
			j.interrupt(*guest)
			*guest = nil
		}
	}
	if took := j.waitEveryPartition(20 * time.Second); took > 5*time.Second {
		t.Errorf("after the last change it took %v until every task had progressed", took)
	}
	for _, guest := range guests {
		if guest != nil {
			j.interrupt(guest)
		}
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	if rebuilds := stays.sum("procd_client_rebuilds_total"); rebuilds > 0 {
		t.Errorf("the process that stayed built its clients anew %v times", rebuilds)
	}
	j.interrupt(stays.Process)
	j.verify()
	j.verifyStores(j.read(j.In), j.data+"-stays")
}

// TestStayingTasksAreNotRestored lets a second process come and go: the tasks
// that the first keeps all the time must not be restored again.
func TestStayingTasksAreNotRestored(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	j.produce(newGenerator(run.seed, 20_000).arm()...)
	first := j.metered(j.data)
	j.waitDone(time.Minute)
	before := first.sum("procd_restored_records_total")
	second := j.startIn(j.data + "-b")
	j.waitMembers(2)
	j.waitAssigned(2)
	if after := first.sum("procd_restored_records_total"); after != before {
		t.Errorf("a process joined, and the first restored %v records", after-before)
	}
	j.interrupt(second)
	j.waitMembers(1)
	j.waitAssigned(1)
	j.produce(newGenerator(run.seed+1, 20_000).events(1000)...)
	j.waitDone(time.Minute)
	// What comes back has its disk still: only its tail is read, which is at
	// most what the other wrote.
	if after := first.sum("procd_restored_records_total"); after > before+1000 {
		t.Errorf("the other left, and the first restored %v records", after-before)
	}
	j.interrupt(first.Process)
	j.verify()
}

// TestLeavingBySignal measures how long tasks stand still after a SIGTERM,
// which keeps the seat, and a kill -9: the session timeout and 5 s.
func TestLeavingBySignal(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	stays := j.start()
	for _, leave := range []func(*kafkatest.Process){
		func(p *kafkatest.Process) { j.terminate(p) },
		(*kafkatest.Process).Kill,
	} {
		leaves := j.startIn(j.data + "-b")
		j.waitMembers(2)
		j.waitAssigned(2)
		leave(leaves)
		if took := j.waitEveryPartition(time.Minute); took > sessionTimeout+5*time.Second {
			t.Errorf("it took %v until every task had progressed", took)
		}
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(stays)
	j.verify()
}
