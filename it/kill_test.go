package it

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

const (
	// sessionTimeout is procd's, after which a silent member loses its tasks;
	// its transaction's timeout is not longer than transactionTimeout.
	sessionTimeout     = 10 * time.Second
	transactionTimeout = 15 * time.Second

	feedRate = 2000 // events per second
)

// TestKillRandom kills -9 one of three processes every 1 to 3 s for 60 s.
func TestKillRandom(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Partitions: 6})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	procs := []*kafkatest.Process{j.start(), j.start(), j.start()}
	j.waitOutput(0, time.Minute)

	random := rand.New(rand.NewPCG(run.seed, 2))
	kills := 0
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); kills++ {
		<-time.After(time.Second + time.Duration(random.Int64N(int64(2*time.Second))))
		i := random.IntN(len(procs))
		procs[i].Kill()
		procs[i] = j.start()
	}
	must(t, feed.stop())
	t.Logf("%d kills", kills)
	j.waitDone(time.Minute)
	j.interrupt(procs...)
	j.verify()
}

// TestKillSecondStage kills -9 processes of a job with a repartition topic in
// between: each motion is counted once, on the floor it belongs to.
func TestKillSecondStage(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{Template: floorsYAML})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	procs := []*kafkatest.Process{j.start(), j.start()}
	random := rand.New(rand.NewPCG(run.seed, 3))
	for end := time.Now().Add(soak(20*time.Second, time.Minute)); time.Now().Before(end); {
		j.waitOutput(j.out.Count(), time.Minute)
		<-time.After(time.Duration(random.Int64N(int64(time.Second))))
		i := random.IntN(len(procs))
		procs[i].Kill()
		procs[i] = j.start()
	}
	must(t, feed.stop())
	j.waitFloors(time.Minute)
	j.interrupt(procs...)
	j.verifyFloors()
}

// TestKillAll kills all processes at once, 10 times.
func TestKillAll(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	procs := []*kafkatest.Process{j.start(), j.start(), j.start()}
	for range 10 {
		j.waitOutput(j.out.Count(), time.Minute)
		for _, p := range procs {
			must(t, p.Pause()) // so that they die in the same instant, not one after the other
		}
		for _, p := range procs {
			p.Kill()
		}
		// What is on the disks now must be a committed point each.
		j.verifyStoresSoFar()
		for i := range procs {
			procs[i] = j.start()
		}
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	for _, p := range procs {
		p.Kill()
	}
	j.verify()
}

// verifyStoresSoFar checks the store directories while nothing runs and the
// input goes on.
func (j *job) verifyStoresSoFar() {
	j.t.Helper()
	dirs, err := storeDirs(j.data, j.Name, "arm")
	must(j.t, err)
	input := j.read(j.In)
	for _, dir := range dirs {
		if len(dir.sources) > 0 {
			must(j.t, j.sameStore(dir, input))
		}
	}
}

// TestZombie pauses a process for longer than its session and its transaction
// live, then lets it go on: it must not change anything, and find its way back.
func TestZombie(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	// Each has its own disk: with a shared one the seats are the same.
	a, b := j.startIn(j.data), j.startIn(j.data+"-b")
	j.waitMembers(2)
	for _, zombie := range []*kafkatest.Process{a, b} {
		j.waitOutput(j.out.Count(), 30*time.Second)
		must(t, zombie.Pause())
		pause := time.After(sessionTimeout + transactionTimeout)
		j.waitMembers(1)
		j.waitEveryPartition(30 * time.Second)
		<-pause
		must(t, zombie.Continue())
		j.waitMembers(2)
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(a, b)
	j.verify()
	j.verifyStores(j.read(j.In), j.data+"-b")
}

// TestDiskLost kills a process, deletes its disk and starts it again.
func TestDiskLost(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	lost := j.data + "-b"
	a, b := j.startIn(j.data), j.startIn(lost)
	for range 2 {
		j.waitMembers(2)
		j.waitEveryPartition(30 * time.Second)
		b.Kill()
		must(t, os.RemoveAll(lost))
		b = j.startIn(lost)
		j.waitEveryPartition(sessionTimeout + 10*time.Second)
	}
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(a, b)
	j.verify()
	j.verifyStores(j.read(j.In), lost)
}

// TestClonedDisk starts two processes with copies of one disk (P4): both claim
// the same seat, and both must end up working. Each takes a new seat, if need
// be, with all its workers, and nothing of it is left in the group at the end.
func TestClonedDisk(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 300), feedRate)
	a := j.start()
	j.waitOutput(0, time.Minute)
	a.Kill()
	clone := filepath.Join(t.TempDir(), "clone")
	must(t, os.CopyFS(clone, os.DirFS(j.data)))
	a = j.start()
	b := j.startIn(clone)
	j.waitWorkers(2)
	j.waitEveryPartition(30 * time.Second)
	must(t, feed.stop())
	j.waitDone(time.Minute)
	j.interrupt(a, b)
	group, err := j.describe()
	must(t, err)
	for _, m := range group.Members {
		t.Errorf("member %s was left in the group", *m.InstanceID)
	}
	j.verify()
	j.verifyStores(j.read(j.In), clone)
}
