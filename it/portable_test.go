package it

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/kafkatest"
)

// TestPortableKilled starts a job from an exported savepoint on an empty disk,
// and kills it with -9: in the middle of filling the stores, while they are swept
// into the changelog, with the disk lost before that is through. The state stays
// the model's, and so does the output.
func TestPortableKilled(t *testing.T) {
	j := newJob(t, sharedKafka(t), options{})
	j.watch()
	g := newGenerator(run.seed, 200_000) // so that filling takes a moment
	j.produce(g.arm()...)
	feed := j.feed(g, feedRate)
	p := j.start()
	j.waitOutput(1000, time.Minute)
	native := j.savepoint("savepoint-and-stop")
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("the job ended with %d", code)
	}
	dir := filepath.Dir(j.file)
	j.output("savepoint-export", native.id, "portable")
	exported := j.inspect("portable")
	must(t, sameRooms(exported, native.rooms))
	if !maps.Equal(exported.offsets, native.offsets) {
		t.Errorf("exported at %v, taken at %v", exported.offsets, native.offsets)
	}

	// Nothing is left but the export.
	must(t, os.RemoveAll(filepath.Join(dir, "savepoints")))
	must(t, os.RemoveAll(j.data))
	start := func() *kafkatest.Process { return j.start("--savepoint", "portable") }
	kill := func(p *kafkatest.Process) {
		p.Kill()
		j.ended[p] = true
	}
	for filling, tries := 0, 0; filling < 3; tries++ {
		if tries == 20 {
			t.Fatalf("only %d of %d kills met a store being filled", filling, tries)
		}
		p := start()
		j.eventually(time.Minute, func() error {
			if len(j.beingFilled()) == 0 && !runs.MatchString(p.Stderr.String()) {
				return errors.New("no store is being filled")
			}
			return nil
		})
		kill(p)
		if len(j.beingFilled()) > 0 {
			filling++
		} else {
			must(t, os.RemoveAll(j.data)) // too late: there is nothing left to fill
		}
	}
	for _, lost := range []bool{false, true} {
		p := start()
		if _, err := p.Stderr.WaitFor(within(t, time.Minute), runs); err != nil {
			t.Fatal(err)
		}
		kill(p)
		if lost {
			must(t, os.RemoveAll(j.data))
		}
	}
	p = start()
	j.waitOutput(j.out.Count()+1000, time.Minute)

	// Once detached, the changelog alone is the state.
	j.eventually(time.Minute, func() error {
		var status struct{ Detached bool }
		must(t, json.Unmarshal([]byte(j.output("status", j.Name, "--json")), &status))
		if !status.Detached {
			return errors.New("not detached yet")
		}
		return nil
	})
	kill(p)
	must(t, os.RemoveAll(j.data))
	must(t, os.RemoveAll(filepath.Join(dir, "portable")))
	p = j.start()
	must(t, feed.stop())
	j.waitDone(time.Minute)
	last := j.savepoint("savepoint-and-stop")
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("the job ended with %d", code)
	}

	input := j.read(j.In)
	h := newHistory()
	must(t, h.pass(input, nil, native.offsets, eager))
	must(t, sameRooms(native, h.rooms))
	must(t, h.pass(input, native.offsets, nil, eager))
	must(t, sameRooms(last, h.rooms))
	must(t, sameAlarms(j.read(j.Out), h.alarms))
	j.verifySettled()
}

// runs is what a process says when the first of its tasks runs.
var runs = regexp.MustCompile(`msg="task runs"`)

// beingFilled are the directories of stores that are not complete.
func (j *job) beingFilled() []string {
	j.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(j.data, j.Name, "seat-*", "g2", "arm", "*"))
	must(j.t, err)
	return slices.DeleteFunc(dirs, finished)
}

// TestPortableByHand takes an export to another cluster, whose topic of that name
// is another one: that is refused until the manifest says so, and then the
// records that are not there any more are, until they are given up.
func TestPortableByHand(t *testing.T) {
	t.Parallel()
	j := newJob(t, sharedKafka(t), options{})
	g := newGenerator(run.seed, 50)
	j.produce(append(g.arm(), g.events(500)...)...)
	p := j.start()
	j.waitDone(time.Minute)
	at := j.savepoint("savepoint-and-stop")
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("the job ended with %d", code)
	}
	j.output("savepoint-export", at.id, "portable")
	before := j.read(j.In)
	was := j.topicID()
	ctx := within(t, time.Minute)
	_, err := j.kafka.Admin.DeleteTopic(ctx, j.In)
	must(t, err)
	must(t, j.kafka.CreateTopic(ctx, j.In, j.Partitions, nil))
	cl, err := kgo.NewClient(kgo.SeedBrokers(j.kafka.Brokers...)) // that never knew the old one
	must(t, err)
	defer cl.Close()
	must(t, cl.ProduceSync(ctx, j.records(g.events(500))...).FirstErr())
	const lost = 5 // of each partition
	cut := kadm.Offsets{}
	for n := range j.Partitions {
		cut.AddOffset(j.In, n, lost, -1)
	}
	deleted, err := j.kafka.Admin.DeleteRecords(ctx, cut)
	must(t, errors.Join(err, deleted.Error()))

	j.data = filepath.Join(t.TempDir(), "data")
	refused := func(says string) {
		t.Helper()
		p := j.start("--savepoint", "portable")
		j.ended[p] = true
		if code := j.ends(p, 20*time.Second); code != exitRefused || !strings.Contains(p.Stderr.String(), says) {
			t.Fatalf("exit code %d, want %q", code, says)
		}
	}
	refused("(topic-id)")
	name := filepath.Join(filepath.Dir(j.file), "portable", "manifest.json")
	edit := func(seal bool) {
		t.Helper()
		text, err := os.ReadFile(name)
		must(t, err)
		_, value, _ := strings.Cut(string(text), "\"manifest\": ")
		value = strings.TrimSuffix(value, "\n}\n")
		value = strings.ReplaceAll(value, was, j.topicID())
		value = regexp.MustCompile(`"offset": \d+`).ReplaceAllString(value, `"offset": 0`)
		sum := fmt.Sprintf("%064d", 0)
		if seal {
			sum = fmt.Sprintf("%x", sha256.Sum256([]byte(value)))
		}
		must(t, os.WriteFile(name, fmt.Appendf(nil, "{\n\"format_version\": 1,\n\"sha256\": \"%s\",\n\"manifest\": %s\n}\n", sum, value), 0o644))
	}
	edit(false)
	if _, stderr, code := j.command("savepoint-verify", "portable"); code == 0 || !strings.Contains(stderr, "manifest.json") {
		t.Errorf("a manifest without its checksum: exit code %d, %s", code, stderr)
	}
	edit(true)
	refused("(offsets-lost)")
	p = j.start("--savepoint", "portable", "--accept-gap")
	j.waitDone(time.Minute)
	last := j.savepoint("savepoint-and-stop")
	if code := j.ends(p, 20*time.Second); code != 0 {
		t.Errorf("the job ended with %d", code)
	}

	h := newHistory()
	must(t, h.pass(before, nil, nil, eager))
	must(t, sameRooms(at, h.rooms))
	must(t, h.pass(j.read(j.In), nil, nil, eager))
	must(t, sameRooms(last, h.rooms))
	must(t, sameAlarms(j.read(j.Out), h.alarms))
}

// topicID is the id of the input topic, as a manifest has it.
func (j *job) topicID() string {
	j.t.Helper()
	topics, err := j.kafka.Admin.ListTopics(within(j.t, time.Minute), j.In)
	must(j.t, err)
	id := topics[j.In].ID
	return base64.RawURLEncoding.EncodeToString(id[:])
}
