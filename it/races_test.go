package it

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/internal/kafkatest"
)

// The tests here have more than one version of a job, or more than one command,
// want something at the same time, or too late.

// aside takes a savepoint that the job goes on from.
func (r *relay) aside() taken {
	r.t.Helper()
	s := r.savepoint("savepoint")
	r.passes(s)
	return s
}

// version writes another file of the job, that of the version which waits for
// so long, and returns its path.
func (r *relay) version(ring int64) (file string) {
	r.t.Helper()
	before, ours := r.file, r.ring
	r.file = filepath.Join(filepath.Dir(before), fmt.Sprintf("ring-%d.yaml", ring))
	if !exists(r.file) { // a process may be reading it
		r.write(r.Template)
		r.edit(fmt.Sprintf("> %d", ringAfter), fmt.Sprintf("> %d", ring))
	}
	file, r.file, r.ring = r.file, before, ours
	return file
}

// startVersion starts a version from its own file and data directory.
func (r *relay) startVersion(ring int64, data string, flags ...string) *kafkatest.Process {
	r.t.Helper()
	return r.startVersionAt(r.kafka.address, ring, data, flags...)
}

func (r *relay) startVersionAt(brokers string, ring int64, data string, flags ...string) *kafkatest.Process {
	r.t.Helper()
	before := r.file
	r.file = r.version(ring)
	p := r.startAt(brokers, data, flags...)
	r.file = before
	return p
}

// meet holds the first requests of a kind behind the proxy until as many
// processes as given have sent one each.
func (k *kafka) meet(t *testing.T, kind kmsg.Key, processes int64) {
	var came atomic.Int64
	all := make(chan struct{})
	k.broker.Proxy().Judge(func(q kafkatest.Request) kafkatest.Verdict {
		if q.Key == kind.Int16() {
			if came.Add(1) == processes {
				close(all)
			}
			select {
			case <-all:
			case <-t.Context().Done():
			}
		}
		return kafkatest.Verdict{}
	})
}

// TestTwoStartsAtOnce starts two versions of a stopped job from two savepoints;
// both have looked at the job when the first of them decides. One of them runs;
// the other one is refused, and says who was faster; a second process of the one
// that runs joins it.
func TestTwoStartsAtOnce(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	r := newRelay(t, k.direct(), options{})
	p := r.start()
	r.waitDone(time.Minute)
	older := r.aside()
	r.some()
	r.waitDone(time.Minute)
	r.handOver(p)
	for range soak(2, 20) {
		stopped := r.at
		r.some()
		before := len(r.generations())
		from := []taken{older, stopped}
		var procs []*kafkatest.Process
		k.meet(t, kmsg.InitProducerID, 2) // each asks for it to become decider
		for i, s := range from {
			p := r.startVersionAt(k.address, int64(6000+1000*i), fmt.Sprint(r.data, i), "--savepoint", s.id, "--again")
			r.ended[p] = true
			procs = append(procs, p)
		}
		loser := r.firstEnded(procs)
		k.broker.Proxy().Judge(nil)
		winner := 1 - loser
		r.wantEnd(procs[loser], exitRefused, "already running")
		if n := len(r.generations()); n != before+1 {
			t.Errorf("%d new generations", n-before)
		}
		// A replica joins what it finds, and does not begin it again.
		replica := r.startVersion(int64(6000+1000*winner), r.data+"-replica", "--savepoint", from[winner].id)
		r.says(replica, 30*time.Second, "msg=running")
		if n := len(r.generations()); n != before+1 {
			t.Errorf("%d new generations, with a replica", n-before)
		}
		t.Logf("the start from %s won; the other one: %s", []string{"the older", "the last"}[winner], procs[loser].Stderr.Tail(1))
		r.at, r.ring = from[winner], int64(6000+1000*winner)
		r.waitDone(time.Minute)
		r.handOver(procs[winner], replica)
	}
	r.check()
}

// firstEnded waits until one of the processes has ended, and says which.
func (j *job) firstEnded(procs []*kafkatest.Process) int {
	j.t.Helper()
	select {
	case <-procs[0].Done():
		return 0
	case <-procs[1].Done():
		return 1
	case <-within(j.t, time.Minute).Done():
		j.t.Fatal("both run")
		return 0
	}
}

// TestSavepointsAtOnce asks for several savepoints in the same instant, and for
// two stops among them, under load: each is taken, one after the other, or told
// that the job has stopped; exactly one stops it.
func TestSavepointsAtOnce(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	feed := j.feed(newGenerator(run.seed, 100), feedRate/4)
	a, b := j.start(), j.startIn(j.data+"-b")
	j.waitEveryPartition(time.Minute)
	commands := []string{"savepoint", "savepoint", "savepoint-and-stop", "savepoint", "savepoint-and-stop"}
	var asked []*kafkatest.Process
	for i, command := range commands {
		asked = append(asked, j.launch(j.kafka.address, command, j.Name, "--id", savepointID(i)))
	}
	var stops, saved int
	var all []taken
	for i, p := range asked {
		code := j.ends(p, time.Minute)
		said := p.Stdout.String() + p.Stderr.String()
		switch {
		case code == 0:
			saved++
			all = append(all, j.inspect(savepointID(i)))
			if strings.Contains(said, "STOPPED "+j.Name) {
				stops++
			}
		case code == exitRefused && strings.Contains(said, "ended before it was taken"), code == exitRefused && strings.Contains(said, "does not run"):
		default:
			t.Errorf("%s %d ended with %d: %s", commands[i], i, code, said)
		}
	}
	if stops != 1 {
		t.Errorf("the job was stopped %d times", stops)
	}
	t.Logf("%d of %d were saved", saved, len(commands))
	for _, p := range []*kafkatest.Process{a, b} {
		if code := j.ends(p, 20*time.Second); code != 0 {
			t.Errorf("a process of the stopped job ended with %d", code)
		}
	}
	must(t, feed.stop())
	input := j.read(j.In)
	for _, s := range all {
		h := newHistory()
		must(t, h.pass(input, nil, s.offsets, eager))
		must(t, sameRooms(s, h.rooms))
	}
	// What was not taken is answered by the next run, and hits nobody.
	p := j.start("--resume")
	j.waitDone(time.Minute)
	for i, command := range commands {
		_, stderr, code := j.command(command, j.Name, "--id", savepointID(i))
		if was, _ := asked[i].Wait(t.Context()); was == 0 && code != 0 || was != 0 && code != 1 && code != exitRefused {
			t.Errorf("%s %d ended with %d, and now with %d: %s", command, i, was, code, stderr)
		}
	}
	if j.state() != "RUNNING" {
		t.Error("a request of the run before has stopped the job")
	}
	j.interrupt(p)
	j.verify()
}

// TestZombieAcrossGenerations makes a process sleep in the middle of a commit:
// its offsets are sent, and the end of its transaction is on its way to the
// broker. Its members are removed, another version is started from an older
// savepoint, and then the request arrives and the process wakes, long before the
// transaction would have timed out.
func TestZombieAcrossGenerations(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	r := newRelay(t, k.direct(), options{})
	zombie := r.startAt(k.address, r.data+"-zombie")
	r.waitDone(time.Minute)
	older := r.aside()
	r.some()
	r.waitDone(time.Minute)

	sent, arrives := make(chan struct{}), make(chan struct{})
	var once sync.Once
	k.broker.Proxy().Judge(func(q kafkatest.Request) kafkatest.Verdict {
		if q.Key == kmsg.EndTxn.Int16() {
			once.Do(func() { close(sent); <-arrives }) // the request is on its way for long
		}
		return kafkatest.Verdict{}
	})
	r.some()
	select {
	case <-sent:
	case <-within(t, time.Minute).Done():
		t.Fatal("no transaction was to end")
	}
	must(t, zombie.Pause())
	asleep := time.Now()
	r.passes(taken{offsets: r.offsetsNow()}) // what is open must not appear any more

	open, err := k.OpenTransactions(t.Context(), r.group()+".")
	if err != nil || !slices.Contains(states(open), "Ongoing") {
		t.Errorf("no transaction is open, this proves nothing: %v, %v", open, err)
	}
	r.removeMembers()
	r.at, r.ring = older, 7000
	p := r.startVersion(r.ring, r.data, "--savepoint", older.id)
	r.says(p, time.Minute, "msg=decided")
	if slept := time.Since(asleep); slept >= sessionTimeout {
		t.Errorf("the start waited %v for the transaction to time out: it did not fence it (P5)", slept)
	}
	close(arrives)
	must(t, zombie.Continue())
	k.broker.Proxy().Judge(nil)
	r.wantEnd(zombie, exitRefused, "another generation")
	r.some()
	r.waitDone(time.Minute)
	// The restart that follows, with the arguments of old.
	r.wantEnd(r.startAt(k.address, r.data+"-zombie"), exitRefused, "already running with another definition")
	r.handOver(p)
	r.verifySettled()
	r.check()
}

// removeMembers removes all members from the job's group, as an administrator
// does.
func (j *job) removeMembers() {
	j.t.Helper()
	group, err := j.describe()
	must(j.t, err)
	var ids []string
	for _, m := range group.Members {
		ids = append(ids, *m.InstanceID)
	}
	left, err := j.kafka.Admin.LeaveGroup(j.t.Context(), kadm.LeaveGroup(j.group()).InstanceIDs(ids...))
	must(j.t, err)
	must(j.t, left.Error())
}

// offsetsNow are the committed offsets of the input, whatever is open.
func (j *job) offsetsNow() map[partition]int64 {
	j.t.Helper()
	at, err := j.committedAt()
	must(j.t, err)
	offsets := map[partition]int64{}
	for p, offset := range at {
		offsets[partition{j.In, p}] = offset
	}
	return offsets
}

// TestOldArguments brings processes back with arguments that were right once,
// in each state that the job can be in by then. None of them moves it.
func TestOldArguments(t *testing.T) {
	t.Parallel()
	r := newRelay(t, sharedKafka(t), options{})
	p := r.start()
	r.waitDone(time.Minute)
	r.handOver(p)
	first := r.at
	refused := func(ring int64, says string, flags ...string) {
		t.Helper()
		q := r.startVersion(ring, r.data+"-old", flags...)
		r.wantEnd(q, exitRefused, says)
	}
	joins := func(ring int64, flags ...string) {
		t.Helper()
		q := r.startVersion(ring, r.data+"-new", flags...)
		r.says(q, 30*time.Second, "msg=running")
		r.interrupt(q)
	}

	// STOPPED: nothing but --resume or a savepoint starts it, whatever the file.
	for _, ring := range []int64{ringAfter, 7000} {
		refused(ring, "start from there with procd start --savepoint "+first.id)
	}
	// A generation from the first savepoint.
	r.ring = 7000
	p = r.startVersion(r.ring, r.data, "--savepoint", first.id)
	r.some()
	r.waitDone(time.Minute)
	joins(7000, "--savepoint", first.id)
	joins(7000, "--savepoint", "latest")
	joins(7000)
	old := []*kafkatest.Process{ // both wait for the others to expire
		r.startVersion(ringAfter, r.data+"-old"),
		r.startVersion(ringAfter, r.data+"-old", "--savepoint", first.id),
	}
	for _, q := range old {
		r.wantEnd(q, exitRefused, "already running with another definition")
	}
	r.handOver(p)
	refused(7000, "or go back to "+first.id+" once more with --again", "--savepoint", first.id)
	// And from the second one.
	second := r.at
	p = r.startVersion(r.ring, r.data, "--savepoint", second.id)
	r.some()
	r.waitDone(time.Minute)
	refused(7000, "began with savepoint "+first.id+" already", "--savepoint", first.id)
	joins(7000, "--savepoint", second.id)
	if n := len(r.generations()); n != 3 {
		t.Errorf("%d generations", n)
	}
	r.handOver(p)
	r.check()
}

// container restarts a process each time it ends, as containers do, after a
// pause that is short here.
type container struct {
	mu    sync.Mutex
	codes []int
	stop  func()
}

// contain runs a process again and again. always restarts it after exit code 0
// too.
func (r *relay) contain(always bool, ring int64, data string, flags ...string) *container {
	r.t.Helper()
	c := &container{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	file := r.version(ring)
	args := append([]string{"start", "--brokers", r.kafka.address, "--data", data, "--admin", "off", file}, flags...)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			p, code, err := r.binary.Run(ctx, filepath.Dir(file), nil, args...)
			if err != nil {
				if p != nil {
					p.Kill()
				}
				return
			}
			c.mu.Lock()
			c.codes = append(c.codes, code)
			c.mu.Unlock()
			if code == 0 && !always {
				return
			}
		}
	}()
	c.stop = func() { cancel(); <-done }
	r.t.Cleanup(c.stop)
	return c
}

// ended is how often the process has ended.
func (c *container) ended() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.codes)
}

// wantCodes waits until the process has ended so often, and with each code so
// often at least.
func (c *container) wantCodes(t *testing.T, total int, least map[int]int) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		count := map[int]int{}
		for _, code := range c.codes {
			count[code]++
		}
		for code, n := range least {
			if count[code] < n {
				return fmt.Errorf("exit codes %v, waiting for %d times %d", c.codes, n, code)
			}
		}
		if len(c.codes) < total {
			return fmt.Errorf("exit codes %v, waiting for %d", c.codes, total)
		}
		for _, code := range slices.Sorted(maps.Keys(count)) {
			if _, ok := least[code]; !ok {
				return kafkatest.Permanent(fmt.Errorf("exit codes %v", c.codes))
			}
		}
		return nil
	})
}

// TestContainers stops a job at a savepoint whose containers are restarted each
// time they end: it stays stopped. Then containers of the next version run it
// while the old ones are still being restarted.
func TestContainers(t *testing.T) {
	t.Parallel()
	r := newRelay(t, sharedKafka(t), options{})
	onFailure := r.contain(false, ringAfter+1, r.data)
	always := r.contain(true, ringAfter+1, r.data+"-b")
	r.ring = ringAfter + 1
	r.waitDone(time.Minute)
	r.waitMembers(2)
	r.handOver()
	r.some()
	onFailure.wantCodes(t, 1, map[int]int{0: 1})
	always.wantCodes(t, 4, map[int]int{0: 1, exitRefused: 3})
	if r.state() != "STOPPED" || len(r.generations()) != 1 {
		t.Error("a restarted container has started the job")
	}

	r.ring = 8000
	next := r.contain(true, r.ring, r.data+"-c", "--savepoint", r.at.id)
	r.waitDone(time.Minute)
	r.some()
	r.waitDone(time.Minute)
	always.wantCodes(t, always.ended()+1, map[int]int{0: 1, exitRefused: 3}) // of the old version
	r.handOver()
	next.wantCodes(t, 3, map[int]int{0: 1, exitRefused: 2})
	for _, c := range []*container{always, next} {
		c.stop()
	}
	if n := len(r.generations()); n != 2 {
		t.Errorf("%d generations", n)
	}
	r.check()
}
