package it

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
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

var running = regexp.MustCompile(`msg=running`)

// joined waits until every process runs: one that starts while the job is
// stopped is refused, or begins with its savepoint again.
func (c *crew) joined() {
	c.t.Helper()
	for _, p := range c.procs {
		if _, err := p.Stderr.WaitFor(within(c.t, 30*time.Second), running); err != nil {
			c.t.Fatal(err)
		}
	}
}

// stop stops the job and returns where it stood.
func (c *crew) stop() map[partition]int64 {
	c.t.Helper()
	c.joined()
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
	c.joined()
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

	// The sweep of the second generation is slow: a part at each commit. One that
	// is over before all this has happened to it proves little; then the
	// generation begins again, and is slower.
	lives := []*life{first}
	var deleted []int
	var middle taken
	for pause, sweeping := 2*time.Second, false; !sweeping; pause *= 2 {
		if pause > 16*time.Second {
			t.Fatal("every sweep was over before it was disturbed")
		}
		g := len(lives) + 1
		step := 1000 * int64(len(lives))
		j.write(tallying(step, pause))
		c.startAll("--savepoint", older.id, "--again")
		<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
		c.crash(0, true)
		<-time.After(time.Duration(random.IntN(500)) * time.Millisecond)
		c.crash(1, false)
		j.waitSwept(g, 1, "begun", hasBegun)
		// The second pass of the compaction takes along what the first has found to
		// be a tombstone.
		j.compactsSoon(g, 0)
		for range 2 {
			passed := some(100)
			deleted = append(deleted, passed...)
			j.disarm(passed)
			j.waitEveryPartition(30 * time.Second)
			j.waitCompacted(g, deleted, false)
		}
		c.crash(1, true)
		j.waitMembers(2)
		middle = j.savepoint("savepoint")
		tasks, err := j.sweeps(g)
		must(t, err)
		for _, s := range tasks {
			sweeping = sweeping || isSweeping(s)
		}
		next, err := rise(j.read(j.In), first, older, step)
		must(t, err)
		next.saved = []taken{middle}
		next.to = c.stop()
		lives = append(lives, next)
		t.Logf("a commit every %v: still sweeping: %v", pause, sweeping)
	}
	second := lives[len(lives)-1]

	j.write(tallying(1_000_000, 500*time.Millisecond))
	c.startAll("--savepoint", middle.id)
	last := len(lives) + 1
	j.waitSwept(last, 1, "begun", hasBegun)
	c.crash(random.IntN(2), true)
	more := some(200)
	j.disarm(more)
	j.compactsSoon(last, 5*time.Second)
	c.crash(random.IntN(2), false)
	j.waitSwept(last, j.Partitions, "clean", isClean)
	deleted = slices.Concat(deleted, more)
	j.waitCompacted(last, deleted, true)
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
	c.rest(append(lives, third))
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

	j.write(tallying(1000, 4*time.Second))
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

// TestRewindRandom goes back to any savepoint of any generation, again and again,
// while processes are killed, paused and lose their disks, and savepoints are
// taken at random moments. Only the long run takes the time that this needs.
func TestRewindRandom(t *testing.T) {
	t.Parallel()
	d := soak(0, 3*time.Minute)
	if d == 0 {
		t.Skip("only with PROCD_IT_LONG")
	}
	random := rand.New(rand.NewPCG(run.seed, 7))
	interval := func() time.Duration { return time.Duration(50+random.IntN(1500)) * time.Millisecond }
	j := newJob(t, sharedKafka(t), options{Template: tallying(1, 100*time.Millisecond)})
	j.watch()
	house := newGenerator(run.seed, 30_000)
	j.produce(house.arm()...)
	house.rooms = 300
	feed := j.feed(house, 300)
	c := newCrew(j, 2)
	c.startAll()
	j.waitOutput(30_000, time.Minute)
	lives := []*life{{step: 1}}
	type origin struct {
		of *life
		taken
	}
	var all []origin
	paused := -1
	wake := func() {
		if paused >= 0 {
			must(t, c.procs[paused].Continue())
			paused = -1
		}
	}
	save := func() {
		stdout, stderr, code := j.command("savepoint", j.Name, "--json")
		var result struct{ ID string }
		switch now := lives[len(lives)-1]; {
		case code == 0:
			must(t, json.Unmarshal([]byte(stdout), &result))
			s := j.inspect(result.ID)
			now.saved = append(now.saved, s)
			all = append(all, origin{now, s})
		case code != 1 && code != 3 && code != 5: // 3: the processes have not begun yet
			t.Errorf("savepoint: exit code %d, %s", code, stderr)
		default:
			t.Logf("no savepoint: %s", stderr)
		}
	}
	save()
	for end := time.Now().Add(d); time.Now().Before(end) && !t.Failed(); {
		<-time.After(time.Duration(random.IntN(3000)) * time.Millisecond)
		switch n := random.IntN(12); {
		case n < 4:
			i := random.IntN(len(c.procs))
			if i == paused {
				paused = -1
			}
			c.crash(i, random.IntN(3) == 0)
		case n < 6:
			wake()
			if random.IntN(2) == 0 {
				paused = random.IntN(len(c.procs))
				must(t, c.procs[paused].Pause())
			}
		case n < 8:
			j.disarm(random.Perm(30_000)[:200])
		case n < 10:
			wake()
			save()
		default:
			wake()
			now := lives[len(lives)-1]
			// Before a task's first commit the offsets are those of the life before.
			j.waitSwept(len(lives), j.Partitions, "begun", hasBegun)
			now.to = c.stop()
			input := j.read(j.In)
			must(t, now.checkSaved(input))
			s := all[random.IntN(len(all))]
			next, err := rise(input, s.of, s.taken, 1+random.Int64N(1<<40))
			must(t, err)
			lives = append(lives, next)
			j.write(tallying(next.step, interval()))
			t.Logf("generation %d from %s", len(lives), s.id)
			c.startAll("--savepoint", s.id, "--again")
		}
	}
	wake()
	must(t, feed.stop())
	j.waitSwept(len(lives), j.Partitions, "begun", hasBegun)
	c.rest(lives)
}
