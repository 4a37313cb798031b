package it

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// Exit codes, as the documentation promises them.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNotFound = 4
	exitTimedOut = 5
)

// wantEnd waits for a process to end by itself with the exit code, having said
// all of texts on stderr.
func (j *job) wantEnd(p *kafkatest.Process, code int, texts ...string) {
	j.t.Helper()
	j.ended[p] = true
	if got := j.ends(p, time.Minute); got != code {
		j.t.Errorf("exit code %d, want %d", got, code)
	}
	wantTexts(j.t, p.Stderr.String(), texts...)
}

func wantTexts(t *testing.T, said string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("does not say %q:\n%s", text, said)
		}
	}
}

// says waits until a process has said what matches.
func (j *job) says(p *kafkatest.Process, d time.Duration, pattern string) {
	j.t.Helper()
	_, err := p.Stderr.WaitFor(within(j.t, d), regexp.MustCompile(pattern))
	must(j.t, err)
}

// TestBrokerUnreachable: start says so within 10 s and keeps trying, all other
// commands end with exit code 4.
func TestBrokerUnreachable(t *testing.T) {
	t.Parallel()
	k := ownKafka(t, kafkatest.BrokerOptions{})
	j := newJob(t, k, options{})
	must(t, k.broker.Shutdown())
	p := j.start()
	j.says(p, 10*time.Second, regexp.QuoteMeta(k.address))
	for _, command := range [][]string{{"status", j.Name}, {"list"}, {"stop", j.Name}, {"reset", j.Name, "--yes"}} {
		if _, stderr, code := j.command(command[0], command[1:]...); code != exitNotFound || !strings.Contains(stderr, k.address) {
			t.Errorf("%v: exit code %d, %s", command, code, stderr)
		}
	}
	must(t, k.broker.Restart(within(t, 2*time.Minute)))
	j.watch()
	j.produce(newGenerator(run.seed, 50).events(5000)...)
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.verify()
}

func TestUnknownJobAndTopic(t *testing.T) {
	t.Parallel()
	k := sharedKafka(t)
	j := newJob(t, k, options{})
	for _, command := range [][]string{{"status", "no-such-job"}, {"stop", "no-such-job"}, {"reset", "no-such-job", "--yes"}} {
		if _, stderr, code := j.command(command[0], command[1:]...); code != exitNotFound || !strings.Contains(stderr, "no-such-job") {
			t.Errorf("%v: exit code %d, %s", command, code, stderr)
		}
	}
	must(t, k.DeleteTopic(within(t, time.Minute), j.In))
	j.wantEnd(j.start(), exitNotFound, j.In)
	topics, err := k.TopicsOf(t.Context(), j.group()+".g")
	must(t, err)
	if len(topics) > 0 {
		t.Errorf("a start that failed left %v", topics)
	}
}

// badRecord is an input record that no policy but skip and dead letter gets
// past.
type badRecord struct {
	name, key, value string
	nullKey          bool
}

var badRecords = []badRecord{
	{name: "no JSON", key: "1", value: `{"type":`},
	{name: "wrong type", key: "1", value: `{"type":"motion","room":"one","time":1}`},
	{name: "missing field", key: "1", value: `{"type":"motion","room":1}`},
	{name: "too large for int", key: "3000000000", value: `{"type":"motion","room":3000000000,"time":1}`},
	{name: "trailing data", key: "1", value: `{"type":"motion","room":1,"time":1}}`},
	{name: "invalid UTF-8", key: "1", value: "{\"type\":\"\xff\",\"room\":1,\"time\":1}"},
	{name: "null key", nullKey: true, value: `{"type":"motion","room":1,"time":1}`},
	{name: "key of another room", key: "2", value: `{"type":"motion","room":1,"time":1}`},
	{name: "failing expression", key: "1", value: `{"type":"activate","room":1,"time":9223372036854775807}`},
	{name: "failing expression", key: "1", value: `{"type":"motion","room":1,"time":-9223372036854775807}`},
}

func (b badRecord) record(j *job, p int32) *kgo.Record {
	r := &kgo.Record{Topic: j.In, Key: []byte(b.key), Value: []byte(b.value), Partition: p}
	if b.nullKey {
		r.Key = nil
	}
	return r
}

// produceTo writes records to the partitions they name.
func (j *job) produceTo(records ...*kgo.Record) {
	j.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(j.kafka.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(j.t, err)
	defer cl.Close()
	must(j.t, cl.ProduceSync(within(j.t, time.Minute), records...).FirstErr())
}

// TestBadRecordFails stops at each bad record, naming its place, and again
// after a restart: nothing is skipped in silence.
func TestBadRecordFails(t *testing.T) {
	t.Parallel()
	for _, bad := range badRecords[:len(badRecords)-2] {
		t.Run(bad.name, func(t *testing.T) {
			j := newJob(t, sharedKafka(t), options{Partitions: 1})
			j.produce(event{"activate", 1, 0}, event{"motion", 1, 6000})
			j.produceTo(bad.record(j, 0))
			for range 2 {
				j.wantEnd(j.start(), exitFailed, j.In+"-0 at offset 2")
			}
			if output := j.read(j.Out); len(output) > 1 {
				t.Errorf("%d outputs of one alarm", len(output))
			}
		})
	}
}

// TestBadRecordsDeadLettered puts 1 % of bad records among the good ones and
// kills processes meanwhile: every bad one is dead-lettered exactly once, with
// its coordinates, and the rest is exact.
func TestBadRecordsDeadLettered(t *testing.T) {
	t.Parallel()
	name := nameOf(t)
	j := newJob(t, sharedKafka(t), options{Name: name, Input: "  on-bad-record: {dead-letter: " + name + "-dead}\n"})
	must(t, j.kafka.CreateTopic(t.Context(), name+"-dead", 2, nil))
	j.watch()
	good, bad := j.produceGarbage(20_000)
	p := j.start()
	for range 3 {
		j.waitOutput(j.out.Count(), 30*time.Second)
		p.Kill()
		p = j.start()
		more, moreBad := j.produceGarbage(5_000)
		good, bad = append(good, more...), append(bad, moreBad...)
	}
	j.waitDone(time.Minute)
	j.interrupt(p)
	alarms, _, err := replay(good, nil)
	must(t, err)
	must(t, sameAlarms(j.read(j.Out), alarms))
	must(t, sameDeadLetters(j.read(name+"-dead"), bad))
}

// garbageRoom has no good events, so that what garbage leaves behind is seen.
const garbageRoom = 1

// produceGarbage writes n events and, for each hundred, one bad record; it
// returns both as they are in the topic.
func (j *job) produceGarbage(n int) (good, bad []*kgo.Record) {
	j.t.Helper()
	g := newGenerator(run.seed, 100)
	g.time = time.Now().UnixMilli() // later than the events of an earlier call
	random := rand.New(rand.NewPCG(run.seed, uint64(g.time)))
	for range n / 100 {
		for _, e := range g.events(100) {
			e.Room += garbageRoom + 1
			good = append(good, e.record(j.In))
		}
		b := badRecords[random.IntN(len(badRecords)-2)]
		switch random.IntN(3) {
		case 0:
			b.value = b.value[:random.IntN(len(b.value))] + "\x00"
		case 1:
			b.value = string(randomBytes(random, random.IntN(100)+1))
		}
		bad = append(bad, b.record(j, 0))
	}
	all := make([]*kgo.Record, 0, len(good)+len(bad))
	for i, r := range good {
		all = append(all, r)
		if i%100 == 99 {
			all = append(all, bad[i/100])
		}
	}
	must(j.t, j.kafka.Produce(within(j.t, time.Minute), all...))
	return good, bad
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// sameDeadLetters wants each bad record once, raw, with its place and a reason.
func sameDeadLetters(letters, bad []*kgo.Record) error {
	want := map[string]*kgo.Record{}
	for _, r := range bad {
		want[fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)] = r
	}
	for _, r := range letters {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		at := headers["procd-topic"] + "/" + headers["procd-partition"] + "/" + headers["procd-offset"]
		original := want[at]
		if original == nil {
			return fmt.Errorf("%s is not bad, or dead-lettered twice: %q %v", at, r.Value, headers)
		}
		delete(want, at)
		if string(r.Value) != string(original.Value) || string(r.Key) != string(original.Key) || headers["procd-error"] == "" {
			return fmt.Errorf("%s: dead letter %q = %q, reason %q, of %q = %q", at, r.Key, r.Value, headers["procd-error"], original.Key, original.Value)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("%d of %d bad records are not dead-lettered", len(want), len(bad))
	}
	return nil
}

// TestBadRecordsSkipped goes past them, and counts.
func TestBadRecordsSkipped(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{Input: "  on-bad-record: skip\n"})
	good, bad := j.produceGarbage(10_000)
	p := j.metered(j.data)
	j.waitDone(time.Minute)
	if skipped := p.sum("procd_records_total", "kind", "skipped"); int(skipped) != len(bad) {
		t.Errorf("%v records counted as skipped, want %d", skipped, len(bad))
	}
	j.interrupt(p.Process)
	alarms, _, err := replay(good, nil)
	must(t, err)
	must(t, sameAlarms(j.read(j.Out), alarms))
}

// nameOf is the name that newJob gives to a job.
func nameOf(t *testing.T) string {
	return strings.Trim(notInName.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-") + "-" + run.id
}

// TestWrongPartitioner produces as librdkafka does by default (P24).
func TestWrongPartitioner(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	e := event{"activate", 1, 0}
	r := e.record(j.In)
	j.produce(e)
	right := j.read(j.In)[0].Partition
	r.Partition = (right + 1) % j.Partitions
	j.produceTo(r)
	j.wantEnd(j.start(), exitRefused, j.In, `"1"`, fmt.Sprint(right), fmt.Sprint(r.Partition), "input.partitioner")
}

// TestFarFuture: Kafka timestamps and event times a century ahead, and one
// before the epoch. They must not stop the job, and an output never carries a
// Kafka timestamp later than now (D4, P22, P23).
func TestFarFuture(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{Configs: map[string]string{"message.timestamp.after.max.ms": "9223372036854775807", "message.timestamp.before.max.ms": "9223372036854775807"}})
	century := time.Now().AddDate(100, 0, 0)
	records := j.records([]event{{"activate", 1, 0}, {"motion", 1, century.UnixMilli()}, {"motion", 1, 7000}, {"activate", 2, -9000}, {"motion", 2, 1}})
	for i, at := range []time.Time{century, century, time.Now(), time.UnixMilli(1), time.Now()} {
		records[i].Timestamp = at
	}
	must(t, j.kafka.Produce(within(t, time.Minute), records...))
	p := j.metered(j.data)
	j.waitDone(time.Minute)
	if clamped := p.sum("procd_records_total", "kind", "clamped"); clamped == 0 {
		t.Error("no record is counted as clamped")
	}
	j.interrupt(p.Process)
	j.verify()
	for _, r := range j.read(j.Out) {
		if r.Timestamp.After(time.Now()) {
			t.Errorf("an output's Kafka timestamp is %v", r.Timestamp)
		}
	}
}

// TestPartitionsAdded stops before a key is split (O5).
func TestPartitionsAdded(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	p := j.start()
	j.watch()
	j.produce(newGenerator(run.seed, 50).events(5000)...)
	j.waitDone(time.Minute)
	resp, err := j.kafka.Admin.CreatePartitions(t.Context(), 2, j.In)
	must(t, err)
	must(t, resp.Error())
	says := []string{j.In, "from 4 to 6", "procd reset"}
	j.wantEnd(p, exitRefused, says...)
	j.wantEnd(j.start(), exitRefused, says...)
}

// TestTopicRecreated: the old offsets mean nothing in the new topic (O4).
func TestTopicRecreated(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			j := newJob(t, sharedKafka(t), options{})
			p := j.start()
			events := newGenerator(run.seed, 50).events(5000)
			j.produce(events...)
			j.waitDone(time.Minute)
			if !running {
				j.interrupt(p)
			}
			ctx := within(t, time.Minute)
			must(t, j.kafka.DeleteTopic(ctx, j.In))
			must(t, j.kafka.CreateTopic(ctx, j.In, j.Partitions, nil))
			// A new client: the old one knows the topic by its id.
			again, err := kafkatest.Connect(j.kafka.Brokers...)
			must(t, err)
			defer again.Close()
			must(t, again.Produce(ctx, j.records(events)...))
			if running {
				j.wantEnd(p, exitRefused, j.In)
			}
			j.wantEnd(j.start(), exitRefused, j.In, "procd reset")
		})
	}
}

// TestOffsetsBelowLogStart: records the job has not read are gone (O1).
func TestOffsetsBelowLogStart(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{Partitions: 1})
	p := j.start()
	g := newGenerator(run.seed, 50)
	j.produce(g.events(1000)...)
	j.waitDone(time.Minute)
	j.interrupt(p)
	j.produce(g.events(1000)...)
	gone := kadm.Offsets{}
	gone.AddOffset(j.In, 0, 1500, -1)
	resp, err := j.kafka.Admin.DeleteRecords(t.Context(), gone)
	must(t, err)
	must(t, resp.Error())
	j.wantEnd(j.start(), exitRefused, j.In, "1000", "1500", "start it from a savepoint with --accept-gap")
}

// TestGroupOffsets: somebody resets, raises or deletes the group's offsets
// (P8); the state says where it belongs, and takes it on request.
func TestGroupOffsets(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]func(j *job){
		"reset":   func(j *job) { j.setOffset(0) },
		"raised":  func(j *job) { j.setOffset(2000) },
		"deleted": (*job).deleteGroup,
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, sharedKafka(t), options{Partitions: 1})
			j.watch()
			p := j.start()
			g := newGenerator(run.seed, 50)
			j.produce(g.events(2000)...)
			j.waitDone(time.Minute)
			j.interrupt(p)
			j.produce(g.events(1000)...)
			tamper(j)
			j.wantEnd(j.start(), exitRefused, j.In, "2000", "--offsets-from-state")
			p = j.start("--offsets-from-state")
			j.waitDone(time.Minute)
			j.interrupt(p)
			j.verify()
		})
	}
}

func (j *job) setOffset(at int64) {
	j.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(j.In, 0, at, -1)
	eventually(j.t, time.Minute, func() error {
		resp, err := j.kafka.Admin.CommitOffsets(j.t.Context(), j.group(), offsets)
		if err != nil {
			return err
		}
		return resp.Error()
	})
}

func (j *job) deleteGroup() {
	j.t.Helper()
	eventually(j.t, time.Minute, func() error {
		resp, err := j.kafka.Admin.DeleteGroups(j.t.Context(), j.group())
		if err != nil {
			return err
		}
		return resp.Error()
	})
}

// TestChangelogPolicy: a changelog that deletes by age deletes state.
func TestChangelogPolicy(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	p := j.start()
	j.produce(newGenerator(run.seed, 50).events(1000)...)
	j.waitDone(time.Minute)
	j.interrupt(p)
	policy := "delete"
	resp, err := j.kafka.Admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, j.changelog(1, "arm"))
	must(t, err)
	must(t, resp[0].Err)
	j.wantEnd(j.start(), exitRefused, j.changelog(1, "arm"), "cleanup.policy")
}

// TestDataDirectory: not writable, and written by a newer procd.
func TestDataDirectory(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	j.wantEnd(j.startIn(filepath.Join(file, "data")), exitFailed, file)

	p := j.start()
	j.produce(newGenerator(run.seed, 50).events(1000)...)
	j.waitDone(time.Minute)
	j.interrupt(p)
	formats, err := filepath.Glob(filepath.Join(j.data, j.Name, "seat-0", "FORMAT"))
	must(t, err)
	if len(formats) != 1 {
		t.Fatalf("format files: %v", formats)
	}
	must(t, os.WriteFile(formats[0], []byte("99\n"), 0o644))
	j.wantEnd(j.start(), exitRefused, j.data, "99")
}

// TestBrokenJobFile: exit code 2, with the place of every error. The thirty
// kinds of broken files are tested in package config.
func TestBrokenJobFile(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	j.edit("filter: type in", "fitler: type in")
	j.edit("time - state.since > 5000", "time - state.sinse > 5000")
	for _, command := range []string{"start", "validate"} {
		_, stderr, code := j.command(command, j.file)
		if code != exitUsage {
			t.Errorf("%s: exit code %d", command, code)
		}
		wantTexts(t, stderr, "job.yaml:9:", "fitler", "filter", "job.yaml:17:", "sinse")
	}
}

// TestDiskFull fills the file system of the state: the process says so, and
// pauses or ends with an error; with space again it goes on where it was.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := mountSmall(t, "64m")
	j := newJob(t, sharedKafka(t), options{Name: "no-space-" + run.id})
	j.watch()
	j.data = disk
	g := newGenerator(run.seed, 20_000)
	p := j.start()
	j.produce(g.arm()...)
	j.waitDone(time.Minute)

	full := filepath.Join(disk, "full")
	fill(t, full)
	j.produce(g.events(20_000)...)
	j.says(p, 30*time.Second, "disk is nearly full|no space left")
	must(t, os.Remove(full))
	// It paused in time, or restores the store that a write failed of, or the
	// failed write has ended the process: there are writes after which Pebble
	// cannot go on.
	g.time += 2 * ringAfter
	j.produce(g.events(2000)...)
	eventually(t, time.Minute, func() error {
		if !p.Running() {
			j.wantEnd(p, exitFailed, disk, "no space left")
			p = j.start()
		}
		return j.kafka.NoLag(j.t.Context(), j.group(), j.In)
	})
	j.interrupt(p)
	j.verify()
}

// fill writes a file until there is no space left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// mountSmall mounts a file system of a size, or skips the test.
func mountSmall(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(dir, 0o755))
	if err := runCommand(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir); err != nil {
		t.Skipf("mounting a small file system is not allowed here: %v", err)
	}
	// Lazily: a process that a failed test left behind may still be there.
	t.Cleanup(func() { must(t, runCommand(context.Background(), "umount", "-l", dir)) })
	return dir
}
