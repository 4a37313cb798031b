package it

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/internal/kafkatest"
)

// The tests here end processes at each step of a savepoint, of a stop at one and
// of a start from one: at the n-th request that a process sends, before the
// broker sees it or after it has answered. The process under test is behind the
// proxy of its broker, all others are not.

// chatter are requests that change and decide nothing, and that come at any
// time.
var chatter = []kmsg.Key{kmsg.Metadata, kmsg.ApiVersions, kmsg.FindCoordinator, kmsg.Heartbeat, kmsg.Fetch}

// trap counts the requests that pass the proxy, and springs at one of them.
type trap struct {
	count  atomic.Int64
	what   string        // the request; valid when it has sprung
	sprung chan struct{} // closed when the broker has, or has not, seen it
}

// setTrap loses the n-th request behind the proxy from now on, or its reply;
// n = 0 only counts.
func (k *kafka) setTrap(n int64, fate kafkatest.Fate) *trap {
	t := &trap{sprung: make(chan struct{})}
	k.broker.Proxy().Judge(func(r kafkatest.Request) kafkatest.Verdict {
		if slices.Contains(chatter, kmsg.Key(r.Key)) || t.count.Add(1) != n {
			return kafkatest.Verdict{}
		}
		lost := "the request"
		if fate != kafkatest.LoseRequest {
			lost = "the reply"
		}
		t.what = fmt.Sprintf("request %d, %s, %s lost", n, kmsg.NameForKey(r.Key), lost)
		return kafkatest.Verdict{Fate: fate, Met: t.sprung}
	})
	return t
}

// moment is where a process is killed: at its n-th request.
type moment struct {
	n    int64
	fate kafkatest.Fate
}

// someSteps are steps of an action with that many requests: all of them in the
// long run, otherwise as many as are wanted, spread evenly.
func someSteps(requests int64, wanted int, random *rand.Rand) (steps []moment) {
	var all []moment
	for n := int64(1); n <= requests; n++ {
		all = append(all, moment{n, kafkatest.LoseRequest}, moment{n, kafkatest.LoseReply})
	}
	every := max(1, len(all)/wanted)
	if soak(0, 1) == 1 {
		every = 1
	}
	for i := random.IntN(every); i < len(all); i += every {
		steps = append(steps, all[i])
	}
	return steps
}

// direct is the same Kafka without the proxy.
func (k *kafka) direct() *kafka {
	d := *k
	d.address = k.broker.Addr()
	return &d
}

// relay is a job that is handed over again and again: stopped at a savepoint,
// changed, and started from there.
type relay struct {
	*job
	g    *generator
	legs []leg
	at   taken // where what runs now comes from; empty: the beginning
	ring int64 // how long a room must have been armed, now
}

// leg is what one version of the job did between two points, which are
// savepoints where they have an id.
type leg struct {
	from, to taken
	see      version
}

// rings is the version that waits for that long.
func rings(after int64) version {
	return func(r *room, e event) bool {
		if e.Type == "motion" {
			return r.Active && e.Time-r.Since > after
		}
		return eager(r, e)
	}
}

const relayRooms = 50

func newRelay(t *testing.T, k *kafka, o options) *relay {
	t.Helper()
	r := &relay{job: newJob(t, k, o), g: newGenerator(run.seed, relayRooms), ring: ringAfter}
	r.watch()
	r.produce(r.g.arm()...)
	r.g.time += ringAfter // or the first legs would be over before anything rings
	return r
}

// aFew is how much input a leg gets at a time: enough that motions ring in it,
// whatever the seed.
const aFew = 200

// some produces a little more input.
func (r *relay) some() {
	r.t.Helper()
	r.produce(r.g.events(aFew)...)
}

// change edits the job's file: what is processed from now on tells by which
// version it was.
func (r *relay) change() {
	r.t.Helper()
	next := int64(ringAfter + 1000*(1+len(r.legs)%3))
	r.edit(fmt.Sprintf("> %d", r.ring), fmt.Sprintf("> %d", next))
	r.ring = next
}

// handOver stops the job at a savepoint, with the processes that run it.
func (r *relay) handOver(procs ...*kafkatest.Process) {
	r.t.Helper()
	r.standsAt(r.savepoint("savepoint-and-stop"))
	for _, p := range procs {
		if code := r.ends(p, 20*time.Second); code != 0 {
			r.t.Errorf("a process of the stopped job ended with %d", code)
		}
	}
}

// passes notes that the job has come to a point and goes on.
func (r *relay) passes(s taken) {
	r.legs = append(r.legs, leg{from: r.at, to: s, see: rings(r.ring)})
	r.at = s
}

// standsAt notes that the job has stopped at a savepoint.
func (r *relay) standsAt(s taken) {
	r.t.Helper()
	r.passes(s)
	for p, at := range r.committed() {
		if s.offsets[p] != at {
			r.t.Errorf("the job stopped at offset %d of partition %d, savepoint %s says %d", at, p.n, s.id, s.offsets[p])
		}
	}
}

// check compares the output, and every savepoint on the way, with the model.
func (r *relay) check() {
	r.t.Helper()
	input := r.read(r.In)
	h := newHistory()
	rooms := map[string]map[int]room{}
	for i, l := range r.legs {
		h.rooms = maps.Clone(rooms[l.from.id])
		if h.rooms == nil {
			h.rooms = map[int]room{}
		}
		before, events := h.total(), 0
		must(r.t, eachBetween(input, l.from.offsets, l.to.offsets, func(event) { events++ }))
		must(r.t, h.pass(input, l.from.offsets, l.to.offsets, l.see))
		if events >= aFew && h.total() == before {
			r.t.Errorf("no alarm in leg %d, of %d events: this proves nothing", i, events)
		}
		if l.to.id != "" {
			must(r.t, sameRooms(l.to, h.rooms))
			rooms[l.to.id] = h.rooms
		}
	}
	output := r.read(r.Out)
	must(r.t, sameAlarms(output, h.alarms))
	r.verifyReader(output)
	r.t.Logf("%d legs, %d events, %d alarms", len(r.legs), len(input), h.total())
}

// TestRelayRings goes through what the legs of a relay get, for many seeds: every
// version has something to ring about in it.
func TestRelayRings(t *testing.T) {
	for seed := range uint64(1000) {
		g := newGenerator(seed*0x9e3779b97f4a7c15, relayRooms)
		rooms := map[int]room{}
		for _, e := range g.arm() {
			rooms[e.Room] = room{Active: true, Since: e.Time}
		}
		g.time += ringAfter
		for leg := range 10 {
			rung := map[int64]bool{}
			for _, e := range g.events(aFew) {
				state := rooms[e.Room]
				for _, ring := range []int64{ringAfter, 6000, 7000, 8000} {
					rung[ring] = rung[ring] || rings(ring)(&state, e)
				}
				rooms[e.Room] = state
			}
			for ring, any := range rung {
				if !any {
					t.Errorf("seed %d: version %d rings nothing in leg %d", seed, ring, leg)
				}
			}
		}
	}
}

// launch runs a command beside the test.
func (j *job) launch(brokers, name string, args ...string) *kafkatest.Process {
	j.t.Helper()
	all := append([]string{name}, args...)
	p, err := j.binary.Start(filepath.Dir(j.file), nil, append(all, "--brokers", brokers, "--data", j.data)...)
	must(j.t, err)
	j.t.Cleanup(p.Kill)
	return p
}

// savepointID makes the n-th id of a test.
func savepointID(n int) string {
	return fmt.Sprintf("20260101T00%02d%02dZ-%04x", n/60%60, n%60, n)
}

// springs waits until the trap has sprung or done is closed, and kills the
// process at once. It says whether it has sprung.
func (t *trap) springs(done <-chan struct{}, victim *kafkatest.Process) bool {
	select {
	case <-t.sprung:
		victim.Kill()
		return true
	case <-done:
		return false
	}
}

// TestStartKilled kills a start from a savepoint at its steps. The same command
// again must finish the work: one new generation, and not a record lost, doubled
// or processed by the wrong version.
func TestStartKilled(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	r := newRelay(t, k.direct(), options{})
	random := rand.New(rand.NewPCG(run.seed, 4))
	p := r.start()
	r.waitDone(time.Minute)
	r.handOver(p)

	// Once without a fault, to know how many steps there are.
	r.change()
	r.some()
	count := k.setTrap(0, kafkatest.Pass)
	p = r.startAt(k.address, r.data, "--savepoint", r.at.id)
	r.waitDone(time.Minute)
	requests := count.count.Load()
	r.handOver(p)

	for _, s := range someSteps(requests, 6, random) {
		r.change()
		r.some()
		from, before := r.at.id, len(r.generations())
		trap := k.setTrap(s.n, s.fate)
		p = r.startAt(k.address, r.data, "--savepoint", from)
		if !trap.springs(r.caughtUp(), p) {
			t.Logf("step %d: not reached", s.n)
		} else {
			t.Logf("step %d of %d: %s", s.n, requests, trap.what)
			k.broker.Proxy().Judge(nil)
			p = r.start("--savepoint", from)
		}
		r.some()
		r.waitDone(time.Minute)
		if n := len(r.generations()); n != before+1 {
			t.Errorf("%s: %d new generations", trap.what, n-before)
		}
		r.handOver(p)
	}
	r.verifySettled()
	r.check()
}

// caughtUp is closed when the job has committed all of its input.
func (j *job) caughtUp() <-chan struct{} {
	done := make(chan struct{})
	ctx := within(j.t, time.Minute)
	go func() {
		if kafkatest.Until(ctx, 100*time.Millisecond, func() error { return j.kafka.NoLag(ctx, j.group(), j.In) }) == nil {
			close(done)
		}
	}()
	return done
}

// TestSavepointKilledSteps kills the process of a job at the steps of a
// savepoint, and of a stop at one, and starts it again with the same arguments,
// as a container is. The command that waits gets a result, the same command
// again gets the same one, and what it says is so.
func TestSavepointKilledSteps(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	for _, command := range []string{"savepoint", "savepoint-and-stop"} {
		t.Run(command, func(t *testing.T) {
			r := newRelay(t, k.direct(), options{})
			r.killSavepoints(k, command)
		})
	}
}

func (r *relay) killSavepoints(k *kafka, command string) {
	random := rand.New(rand.NewPCG(run.seed, 5))
	p := r.startAt(k.address, r.data)
	r.waitDone(time.Minute)
	count := k.setTrap(0, kafkatest.Pass)
	if command == "savepoint" {
		r.savepoint(command)
	} else {
		r.handOver(p)
	}
	requests := count.count.Load()
	if command == "savepoint-and-stop" {
		p = r.startAt(k.address, r.data, "--savepoint", r.at.id)
	}
	from := r.at.id // what the container's arguments name
	for i, s := range someSteps(requests, 4, random) {
		r.some()
		r.waitDone(time.Minute)
		id := savepointID(i)
		trap := k.setTrap(s.n, s.fate)
		asks := r.launch(r.kafka.address, command, r.Name, "--id", id)
		sprung := trap.springs(asks.Done(), p)
		k.broker.Proxy().Judge(nil)
		if sprung {
			flags := []string{}
			if command == "savepoint-and-stop" {
				flags = append(flags, "--savepoint", from)
			}
			p = r.startAt(k.address, r.data, flags...)
			r.ended[p] = true // it may be refused: the job may stand at the savepoint
		}
		code := r.ends(asks, time.Minute)
		_, said, again := r.command(command, r.Name, "--id", id)
		r.t.Logf("step %d of %d (%s): exit code %d, again %d: %s%s", s.n, requests, trap.what, code, again, asks.Stdout, asks.Stderr)
		if again != code {
			r.t.Errorf("the command ended with %d, the same again with %d: %s", code, again, said)
		}
		state := r.state()
		switch {
		case code == 0 && command == "savepoint":
			r.passes(r.inspect(id))
		case code == 0:
			if state != "STOPPED" {
				r.t.Errorf("the job is %s", state)
			}
			// Refused if it came after STOPPED, otherwise it took part.
			if ended := r.ends(p, 20*time.Second); ended != 0 && (!sprung || ended != exitRefused) {
				r.t.Errorf("the process ended with %d:\n%s", ended, p.Stderr.Tail(3))
			}
			r.standsAt(r.inspect(id))
			from = id
			p = r.startAt(k.address, r.data, "--savepoint", from)
		case code != 1:
			r.t.Errorf("exit code %d", code)
		case strings.Contains(asks.Stderr.String(), "is complete, but"):
			r.passes(r.inspect(id))
			fallthrough
		default:
			if state != "RUNNING" {
				r.t.Errorf("the job is %s", state)
			}
		}
	}
	r.some()
	r.waitDone(time.Minute)
	r.handOver(p)
	r.verifySettled()
	r.check()
}

// state is RUNNING, STOPPED or RESET.
func (j *job) state() string {
	j.t.Helper()
	var status struct {
		State struct {
			State string `json:"state"`
		} `json:"state"`
	}
	must(j.t, json.Unmarshal([]byte(j.output("status", j.Name, "--json")), &status))
	return status.State.State
}

// TestCommandKilled kills the command that asks for a savepoint, or for a stop
// at one, at its steps: the same command again finishes the work.
func TestCommandKilled(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	r := newRelay(t, k.direct(), options{})
	random := rand.New(rand.NewPCG(run.seed, 6))
	p := r.start()
	r.waitDone(time.Minute)
	for c, command := range []string{"savepoint", "savepoint-and-stop"} {
		var requests int64
		for i, s := range append([]moment{{}}, someSteps(20, 5, random)...) {
			if requests > 0 && s.n > requests {
				break
			}
			r.some()
			r.waitDone(time.Minute)
			r.waitArrived()
			id := savepointID(100*c + i)
			trap := k.setTrap(s.n, s.fate)
			asks := r.launch(k.address, command, r.Name, "--id", id)
			trap.springs(asks.Done(), asks)
			r.ends(asks, time.Second)
			if s.n == 0 {
				requests = trap.count.Load()
			}
			k.broker.Proxy().Judge(nil)
			stdout, stderr, code := r.command(command, r.Name, "--id", id)
			t.Logf("step %d of %d (%s): again: exit code %d, %s%s", s.n, requests, trap.what, code, stdout, stderr)
			if code != 0 {
				t.Fatalf("%s again ended with %d: %s", command, code, stderr)
			}
			if command == "savepoint" {
				r.passes(r.inspect(id))
				continue
			}
			if ended := r.ends(p, 20*time.Second); ended != 0 {
				t.Errorf("the process ended with %d", ended)
			}
			r.standsAt(r.inspect(id))
			r.change()
			p = r.start("--savepoint", id)
		}
	}
	r.some()
	r.waitDone(time.Minute)
	r.handOver(p)
	r.verifySettled()
	r.check()
}

// endsOrShows waits for a command that waits for a process, and shows where all
// goroutines of the process are if it waits for ever.
func (r *relay) endsOrShows(asks, p *kafkatest.Process) (code int) {
	r.t.Helper()
	code, err := asks.Wait(within(r.t, 2*time.Minute))
	if err != nil {
		must(r.t, p.Signal(syscall.SIGQUIT))
		r.ends(p, 10*time.Second)
		r.t.Fatalf("%v; what it waits for:\n%s", err, p.Stderr.Tail(5000))
	}
	return code
}

// TestBrokerFailsInSavepoint breaks the broker, or the way to it, at the steps
// of a stop at a savepoint and of the start from it. The processes are left
// alone: the one that runs the job finds its way, and the command gets a result.
func TestBrokerFailsInSavepoint(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{Proxied: true})
	r := newRelay(t, k.direct(), options{})
	random := rand.New(rand.NewPCG(run.seed, 7))
	p := r.startAt(k.address, r.data)
	r.waitDone(time.Minute)
	count := k.setTrap(0, kafkatest.Pass)
	r.handOver(p)
	stops := count.count.Load()
	r.some()
	count = k.setTrap(0, kafkatest.Pass)
	p = r.startAt(k.address, r.data, "--savepoint", r.at.id)
	r.waitDone(time.Minute)
	starts := count.count.Load()

	for i := range soak(2, 100) {
		faults := []kafkatest.Fate{kafkatest.LoseReply, kafkatest.LoseRequest, kafkatest.CutAtReply}
		fate := faults[random.IntN(len(faults))]
		kills := i%2 == 0 // the broker, and the request or its reply with it
		r.some()
		r.waitDone(time.Minute)
		id := savepointID(int(i))
		trap := k.setTrap(1+random.Int64N(stops), fate)
		asks := r.launch(r.kafka.address, "savepoint-and-stop", r.Name, "--id", id)
		k.breaks(trap, asks.Done(), kills)
		code := r.endsOrShows(asks, p)
		if code == exitTimedOut { // the broker took its time; the command says to ask again
			wantTexts(t, asks.Stderr.String(), "wait on with: procd savepoint-and-stop")
			asks = r.launch(r.kafka.address, "savepoint-and-stop", r.Name, "--id", id)
			code = r.endsOrShows(asks, p)
		}
		t.Logf("stop %d (%s, broker killed: %v): exit code %d, %s%s", i, trap.what, kills, code, asks.Stdout, asks.Stderr)
		switch stands := r.state(); {
		case code == 0 && stands == "STOPPED":
			r.standsAt(r.inspect(id))
		case code == 1 && stands == "RUNNING":
			if strings.Contains(asks.Stderr.String(), "is complete, but") {
				r.passes(r.inspect(id))
			}
			r.waitDone(time.Minute)
			r.handOver()
		default:
			t.Fatalf("exit code %d, and the job is %s: %s", code, stands, p.Stderr.Tail(20))
		}
		if ended := r.ends(p, time.Minute); ended != 0 {
			t.Errorf("the process ended with %d: %s", ended, p.Stderr.Tail(3))
		}

		r.change()
		r.some()
		before := len(r.generations())
		trap = k.setTrap(1+random.Int64N(starts), fate)
		p = r.startAt(k.address, r.data, "--savepoint", r.at.id)
		k.breaks(trap, r.caughtUp(), kills)
		t.Logf("start %d (%s, broker killed: %v)", i, trap.what, kills)
		select {
		case <-p.Done(): // it may give up before it runs; then it is started again
			t.Logf("the start ended: %s", p.Stderr.Tail(1))
			r.ended[p] = true
			p = r.startAt(k.address, r.data, "--savepoint", r.at.id)
		case <-r.caughtUp():
		case <-within(t, time.Minute).Done():
		}
		r.waitDone(time.Minute)
		if n := len(r.generations()); n != before+1 {
			t.Errorf("%d new generations", n-before)
		}
	}
	r.handOver(p)
	r.verifySettled()
	r.check()
}

// breaks waits until the trap has sprung, or done is closed, and lets all
// requests pass again; kills is whether the broker is killed and restarted too.
func (k *kafka) breaks(t *trap, done <-chan struct{}, kills bool) {
	select {
	case <-t.sprung:
	case <-done:
	}
	k.broker.Proxy().Judge(nil)
	if kills {
		k.broker.Kill()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := k.broker.Restart(ctx); err != nil {
			panic(err)
		}
	}
}

// TestSavepointLocationFails breaks the place where savepoints are written,
// before one is asked for and in the middle of it. The job goes on, nothing is
// left, the message names the place; once it is mended the same command works,
// and a start needs no more than to read.
func TestSavepointLocationFails(t *testing.T) {
	t.Parallel()
	disk := mountSmall(t, "16m")
	r := newRelay(t, sharedKafka(t), options{Name: "location-" + run.id})
	r.file = filepath.Join(disk, "job.yaml") // savepoints are beside it, the state is not
	r.write(r.Template)
	location, full := filepath.Join(disk, "savepoints"), filepath.Join(disk, "full")
	remount := func(how string) func() {
		return func() { must(t, runCommand(t.Context(), "mount", "-o", "remount,"+how, disk)) }
	}
	filled := func() { fill(t, full) }
	emptied := func() { must(t, os.Remove(full)) }
	p := r.start()
	r.waitDone(time.Minute)
	n, commands := 0, []string{"savepoint", "savepoint-and-stop"}
	for i, fault := range []struct {
		name          string
		breaks, mends func()
		midway        bool // when the attempt's directory has appeared
		says          string
	}{
		{name: "full", breaks: filled, mends: emptied, says: "no space left"},
		{name: "read-only", breaks: remount("ro"), mends: remount("rw"), says: "read-only file system"},
		{name: "a file", breaks: func() {
			must(t, os.Rename(location, location+".away"))
			must(t, os.WriteFile(location, nil, 0o644))
		}, mends: func() {
			must(t, os.Remove(location))
			must(t, os.Rename(location+".away", location))
		}, says: "savepoints"},
		{name: "full midway", midway: true, breaks: filled, mends: emptied},
		{name: "removed midway", midway: true, breaks: func() { must(t, os.RemoveAll(location)) }, mends: func() {}},
	} {
		some := commands
		if soak(0, 1) == 0 {
			some = commands[(uint64(i)+run.seed)%2:][:1]
		}
		for _, command := range some {
			n++
			id := savepointID(n)
			must(t, os.MkdirAll(location, 0o755))
			if !fault.midway {
				fault.breaks()
			}
			asks := r.launch(r.kafka.address, command, r.Name, "--id", id)
			if fault.midway {
				appears(t, location, id, asks)
				fault.breaks()
			}
			code := r.ends(asks, time.Minute)
			state := r.state()
			fault.mends()
			t.Logf("%s, %s: exit code %d, %s: %s%s", fault.name, command, code, state, asks.Stdout, asks.Stderr)
			stopped := code == 0 && command == "savepoint-and-stop"
			switch {
			case stopped && state != "STOPPED", !stopped && state != "RUNNING":
				t.Errorf("%s: exit code %d, and the job is %s", fault.name, code, state)
			case code == 1 && !fault.midway:
				wantTexts(t, asks.Stderr.String(), fault.says, location)
			case code != 1 && !(fault.midway && code == 0):
				t.Errorf("%s: exit code %d", fault.name, code)
			}
			if found := unfinished(t, location); len(found) > 0 && code == 1 {
				t.Errorf("%s: these are left: %v", fault.name, found)
			}
			if code == 1 && exists(filepath.Join(location, id)) {
				t.Errorf("%s failed, and is there", id)
			}
			r.some()
			switch {
			case stopped && exists(filepath.Join(location, id)):
				r.standsAt(r.inspect(id))
				r.ends(p, 20*time.Second)
				p = r.start("--savepoint", id)
			case stopped: // saved, and then removed with all others
				r.ends(p, 20*time.Second)
				p = r.start("--resume")
			}
			r.waitDone(time.Minute)
		}
	}
	r.handOver(p)

	// A start reads it, and nothing else: the state is copied to another disk.
	remount("ro")()
	r.some()
	p = r.startIn(r.data+"-b", "--savepoint", r.at.id)
	r.waitDone(time.Minute)
	remount("rw")()
	r.handOver(p)

	// The disk that it is copied to has no room, or cannot be written.
	for _, fault := range []struct {
		breaks, mends func()
		says          string
	}{{filled, emptied, "no space left|disk is nearly full"}, {remount("ro"), remount("rw"), "read-only file system"}} {
		before := len(r.generations())
		data := filepath.Join(disk, fmt.Sprint("data", before))
		fault.breaks()
		p = r.startIn(data, "--savepoint", r.at.id)
		r.ended[p] = true
		r.says(p, 30*time.Second, fault.says)
		fault.mends()
		r.some()
		if strings.Contains(p.Stderr.String(), "procd: ") {
			r.ends(p, 30*time.Second)
			p = r.startIn(data, "--savepoint", r.at.id)
		}
		r.waitDone(time.Minute)
		if n := len(r.generations()); n != before+1 {
			t.Errorf("%d new generations", n-before)
		}
		r.handOver(p)
	}
	r.check()
}

// appears waits until the directory of an attempt is there, or the command is
// over.
func appears(t *testing.T, location, id string, asks *kafkatest.Process) {
	t.Helper()
	must(t, kafkatest.Until(within(t, 30*time.Second), time.Millisecond, func() error {
		if len(unfinished(t, location)) > 0 || exists(filepath.Join(location, id)) || !asks.Running() {
			return nil
		}
		return errors.New("no attempt has begun")
	}))
}

// unfinished are what attempts have left.
func unfinished(t *testing.T, location string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(location, ".*"))
	must(t, err)
	return found
}
