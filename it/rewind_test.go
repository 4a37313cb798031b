package it

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

// crew is the processes of a job, each with a disk of its own.
type crew struct {
	*job
	disks []string
	procs []*kafkatest.Process
	flags []string // of the newest start
}

func newCrew(j *job, processes int) *crew {
	c := &crew{job: j, procs: make([]*kafkatest.Process, processes)}
	for i := range processes {
		c.disks = append(c.disks, fmt.Sprintf("%s-%d", j.data, i))
	}
	return c
}

// startAll starts every process with the same arguments, as replicas have them.
func (c *crew) startAll(flags ...string) {
	c.t.Helper()
	c.flags = flags
	for i := range c.procs {
		c.again(i)
	}
}

// again starts one process with the arguments of the others.
func (c *crew) again(i int) { c.procs[i] = c.startIn(c.disks[i], c.flags...) }

// crash kills a process with -9, with its disk if that is lost, and starts it
// again.
func (c *crew) crash(i int, lost bool) {
	c.t.Helper()
	c.procs[i].Kill()
	if lost {
		must(c.t, os.RemoveAll(c.disks[i]))
	}
	c.again(i)
}

// owner is the process that has an input partition.
func (c *crew) owner(partition int32) *kafkatest.Process {
	c.t.Helper()
	group, err := c.describe()
	must(c.t, err)
	for _, m := range group.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, topic := range assigned.Topics {
			if topic.Topic != c.In || !slices.Contains(topic.Partitions, partition) {
				continue
			}
			for i, disk := range c.disks {
				if c.identity(disk) == c.seat(m) {
					return c.procs[i]
				}
			}
		}
	}
	c.t.Fatalf("nobody has partition %d", partition)
	return nil
}

// stop stops the job and returns where it stood.
func (c *crew) stop() map[partition]int64 {
	c.t.Helper()
	c.output("stop", c.Name)
	c.left()
	return c.committed()
}

// left waits until every process has left by itself, in order.
func (c *crew) left() {
	c.t.Helper()
	for i, p := range c.procs {
		if code := c.ends(p, 30*time.Second); code != 0 {
			c.t.Errorf("process %d ended with exit code %d", i, code)
		}
	}
}

// rest waits for the end of the input, takes a last savepoint there, and
// compares all that the lives of the job have left behind with the model.
func (c *crew) rest(lives []*life) {
	c.t.Helper()
	c.waitDone(time.Minute)
	now := lives[len(lives)-1]
	now.saved = append(now.saved, c.savepoint("savepoint-and-stop"))
	c.left()
	c.compare(lives)
}

func (c *crew) compare(lives []*life) {
	c.t.Helper()
	input := c.read(c.In)
	alarms, err := outputs(input, lives)
	must(c.t, err)
	output := c.read(c.Out)
	if err := sameAlarms(output, alarms); err != nil {
		c.t.Errorf("outputs: %v", err)
	}
	c.verifyReader(output)
	saved := 0
	for i, l := range lives {
		if err := l.checkSaved(input); err != nil {
			c.t.Errorf("generation %d: %v", i+1, err)
		}
		saved += len(l.saved)
	}
	now := lives[len(lives)-1]
	rooms, err := now.rooms(input, now.to)
	must(c.t, err)
	if err := sameTally("changelog", c.changelogTally(len(lives)), rooms); err != nil {
		c.t.Error(err)
	}
	c.verifySettled()
	c.t.Logf("%d events, %d outputs of %d generations, %d savepoints", len(input), len(output), len(lives), saved)
}

// TestRewind goes back to the older of two savepoints. Processes are killed and
// disks lost right after the start and in the middle of the sweep; keys that
// only the savepoint has are deleted, and the changelog is compacted behind
// them; a savepoint is taken during the sweep, and a third generation begins
// with it before the second is through. In the end the tombstones are compacted
// away too, and all disks are lost.
func TestRewind(t *testing.T) {
	t.Parallel()
	const rooms, busy = 80_000, 300 // events come for the busy ones only
	j := newJob(t, sharedKafka(t), options{Partitions: 2, Template: tallying(1, 100*time.Millisecond)})
	j.watch()
	random := rand.New(rand.NewPCG(run.seed, 5))
	house := newGenerator(run.seed, rooms)
	j.produce(house.arm()...)
	house.rooms = busy
	feed := j.feed(house, 500)
	asleep := random.Perm(rooms - busy)
	some := func(n int) (chosen []int) {
		for _, i := range asleep[:n] {
			chosen = append(chosen, busy+i)
		}
		asleep = asleep[n:]
		return chosen
	}

	c := newCrew(j, 2)
	c.startAll()
	j.waitOutput(rooms, time.Minute)
	first := &life{step: 1}
	older := j.savepoint("savepoint")
	j.disarm(some(50)) // the second generation does it again
	j.waitOutput(j.out.Count()+500, time.Minute)
	newer := j.savepoint("savepoint")
	first.saved = []taken{older, newer}
	first.to = c.stop()

	// The sweep of the second generation is slow: a part at each commit.
	j.write(tallying(1000, 2*time.Second))
	c.startAll("--savepoint", older.id)
	<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
	c.crash(0, true)
	<-time.After(time.Duration(random.IntN(500)) * time.Millisecond)
	c.crash(1, false)
	j.waitSwept(2, 1, "sweeping", isSweeping)
	j.compactsSoon(2, time.Second)
	deleted := some(200)
	j.disarm(deleted)
	j.waitEveryPartition(30 * time.Second)
	j.waitCompacted(2, deleted, false)
	j.waitSwept(2, 1, "sweeping", isSweeping)
	c.crash(1, true)
	j.waitMembers(2)
	middle := j.savepoint("savepoint")
	j.waitSwept(2, 1, "sweeping", isSweeping)
	second, err := rise(j.read(j.In), first, older, 1000)
	must(t, err)
	second.saved = []taken{middle}
	second.to = c.stop()

	j.write(tallying(1_000_000, 500*time.Millisecond))
	c.startAll("--savepoint", middle.id)
	j.waitSwept(3, 1, "sweeping", isSweeping)
	c.crash(random.IntN(2), true)
	more := some(200)
	j.disarm(more)
	j.compactsSoon(3, 5*time.Second)
	c.crash(random.IntN(2), false)
	j.waitSwept(3, j.Partitions, "clean", isClean)
	deleted = slices.Concat(deleted, more)
	j.waitCompacted(3, deleted, true)
	for i := range c.procs {
		c.procs[i].Kill()
		must(t, os.RemoveAll(c.disks[i]))
	}
	for i := range c.procs {
		c.again(i)
	}
	// What was deleted begins anew.
	var back []event
	for _, n := range deleted[:100] {
		back = append(back, event{"activate", n, 1})
	}
	j.produce(back...)
	must(t, feed.stop())
	third, err := rise(j.read(j.In), second, middle, 1_000_000)
	must(t, err)
	c.rest([]*life{first, second, third})
}

// disarm deletes the state of rooms.
func (j *job) disarm(rooms []int) {
	j.t.Helper()
	var events []event
	for _, n := range rooms {
		events = append(events, event{"deactivate", n, 0})
	}
	j.produce(events...)
}

// TestRewindZombie pauses a process in the middle of its sweep, while nothing
// comes in, for longer than its session lives: another takes its task and changes
// keys that are not swept yet. What the zombie still had to write must not come
// behind that.
func TestRewindZombie(t *testing.T) {
	t.Parallel()
	const rooms = 25_000
	j := newJob(t, sharedKafka(t), options{Partitions: 2, Template: tallying(1, 100*time.Millisecond)})
	j.watch()
	house := newGenerator(run.seed, rooms)
	j.produce(house.arm()...)
	c := newCrew(j, 2)
	c.startAll()
	j.waitOutput(rooms-1, time.Minute)
	first := &life{step: 1}
	first.saved = []taken{j.savepoint("savepoint-and-stop")}
	c.left()
	first.to = c.committed()

	j.write(tallying(1000, 2*time.Second))
	c.startAll("--savepoint", first.saved[0].id)
	j.waitSwept(2, j.Partitions, "sweeping", isSweeping)
	zombie := c.owner(0)
	must(t, zombie.Pause())
	j.waitMembers(1)
	var all []event
	for n := range rooms {
		all = append(all, event{"motion", n, house.time})
	}
	j.produce(all...)
	j.waitOutput(2*rooms-1, time.Minute)
	must(t, zombie.Continue())
	j.waitMembers(2)
	j.waitSwept(2, j.Partitions, "detached", isDetached)
	second, err := rise(j.read(j.In), first, first.saved[0], 1000)
	must(t, err)
	c.rest([]*life{first, second})
}
