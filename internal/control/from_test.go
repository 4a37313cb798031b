package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/kstate"
	"github.com/procd/procd/savepoint"
	"github.com/procd/procd/topology"
)

const (
	savepointA = "20261122T101530Z-aaaa"
	savepointB = "20261122T101630Z-bbbb"
)

// statelessJob is alarmJob without its store.
func statelessJob(hash string) Definition {
	d := alarmJob(hash)
	d.Stores = nil
	return d
}

// fill writes so many records to each partition of events.
func (b *bench) fill(records int) {
	b.t.Helper()
	for partition := range int32(4) {
		for range records {
			b.produce("events", partition, b.now())
		}
	}
}

// manifest says that generation g of the test job stood at these offsets.
func (b *bench) manifest(id string, g int, offsets ...int64) *savepoint.Manifest {
	b.t.Helper()
	found, err := b.plane().find(b.context(), "events")
	if err != nil {
		b.t.Fatal(err)
	}
	m := &savepoint.Manifest{
		ID: id, Job: testJob, Generation: g, Run: 1, Attempt: 1, CreatedAt: b.now().UTC(), By: "ann@host",
		Form: savepoint.Native, JobHash: "h1",
		Sources: []savepoint.Topic{{Name: "events", ID: found["events"].ID.String(), Partitions: 4}},
		Stages:  []savepoint.Stage{{ID: "in:events", Partitions: 4, Partitioner: topology.Murmur2}},
	}
	for partition, offset := range offsets {
		at := []kstate.SourceOffset{{Topic: "events", Partition: int32(partition), Offset: offset}}
		m.Tasks = append(m.Tasks, savepoint.Task{Stage: "in:events", Partition: int32(partition), Sources: at, Frontiers: at})
	}
	return m
}

// save makes a savepoint of a manifest and of the databases of its store arm,
// and chooses it.
func (b *bench) save(dir string, m *savepoint.Manifest, arm ...string) *Chosen {
	b.t.Helper()
	location, err := savepoint.OpenLocation(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { location.Close() })
	attempt, err := location.Begin(m.ID, 1, "token")
	if err != nil {
		b.t.Fatal(err)
	}
	var parts []savepoint.Part
	for partition, db := range arm {
		parts = append(parts, b.copyPart(attempt, int32(partition), db))
	}
	if arm != nil {
		spec := topology.StoreSpec{UID: "arm", Stage: "in:events", KeyType: "int"}
		m.Stores = []savepoint.Store{savepoint.NewStore(spec, []kstate.SchemaVersion{{Version: 1, Schema: `"int"`}}, 1, parts)}
	}
	if _, err := attempt.Complete(b.context(), m, ""); err != nil {
		b.t.Fatal(err)
	}
	return b.choose(filepath.Join(dir, m.ID), m.ID)
}

func (b *bench) copyPart(attempt *savepoint.Attempt, partition int32, db string) savepoint.Part {
	b.t.Helper()
	files, err := savepoint.OpenDir(db)
	if err != nil {
		b.t.Fatal(err)
	}
	defer files.Close()
	part, err := attempt.CopyPart(b.context(), savepoint.Checkpoint{
		UID: "arm", Partition: partition, Instance: fmt.Sprintf("db%d", partition), Files: files,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return part
}

// choose opens a savepoint by its directory.
func (b *bench) choose(path, word string) *Chosen {
	b.t.Helper()
	opened, err := savepoint.OpenPath(path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { opened.Close() })
	return &Chosen{Opened: opened, Path: path, Word: word}
}

// database makes a store partition with one row at a position.
func (b *bench) database(dir string, partition int32, offset int64) {
	b.t.Helper()
	env := kstate.NewEnv(kstate.EnvOptions{})
	defer env.Close()
	id := kstate.Identity{Store: "arm", Partition: partition, Generation: 1, TopicID: [16]byte{1}}
	r, err := env.Prepare(dir, id, kstate.LogBounds{End: 3, DeleteRetention: time.Hour, Now: b.now()})
	if err == nil {
		err = errors.Join(
			r.Apply(0, kstate.AppendSchemaKey(nil, 1), []byte(`"int"`)),
			r.Apply(1, kstate.AppendKey(nil, []byte("7")), kstate.AppendValue(nil, 1, []byte{4})))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	db, err := r.Finish(kstate.Position{Changelog: 3, Sources: []kstate.SourceOffset{{Topic: "events", Partition: partition, Offset: offset}}})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// commitAs commits offsets of events as a generation does, or another tool.
func (b *bench) commitAs(metadata string, at map[int32]int64) {
	b.t.Helper()
	offsets := make(kadm.Offsets)
	for partition, offset := range at {
		offsets.Add(kadm.Offset{Topic: "events", Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
	}
	if err := b.adm.CommitAllOffsets(b.context(), Group(testJob), offsets); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) stop() {
	b.t.Helper()
	if _, err := b.plane().Stop(b.context()); err != nil {
		b.t.Fatal(err)
	}
}

func TestP7FirstStartFromSavepoint(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 7, 2, 3, 4, 5))
	l := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: chosen})
	g := l.Generation
	if g.Generation != 1 || g.Previous != 0 || !slices.Equal(g.Start["events"], []int64{2, 3, 4, 5}) {
		t.Errorf("generation %d after %d starts at %v", g.Generation, g.Previous, g.Start)
	}
	want := SavepointRef{ID: savepointA, SHA256: chosen.Opened.SHA256(), Path: chosen.Path, Form: savepoint.Native, Job: testJob, Generation: 7}
	if g.Savepoint == nil || *g.Savepoint != want {
		t.Errorf("savepoint %+v, want %+v", g.Savepoint, want)
	}
	b.checkGenerationTopics(g)
	// A restart with the same arguments writes nothing, and finds the base.
	before := len(b.controlRecords())
	again := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: chosen})
	if again.Generation.StartID != g.StartID || len(b.controlRecords()) != before {
		t.Errorf("a restart got the record of %s, and wrote %d", again.Generation.StartID, len(b.controlRecords())-before)
	}
	if base, err := b.mustBegin(statelessJob("h1"), StartOptions{}).Base(); err != nil || base.Savepoint.SHA256() != want.SHA256 {
		t.Errorf("base of a plain restart: %v, %v", base, err)
	}
}

// The job has processed more than the savepoint: it says how much is replay,
// and knows the furthest point that it ever was at (P6, P10).
func TestP10RewindKeepsTheFrontiers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir := t.TempDir()
	b.mustBegin(statelessJob("h1"), StartOptions{})
	b.commitAs("1", map[int32]int64{0: 8, 1: 9, 2: 1})
	b.commitAs("", map[int32]int64{3: 10}) // another tool's: not the job's position
	b.stop()
	older := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5))}).Generation
	if older.Generation != 2 || older.Previous != 1 || older.Run != 2 {
		t.Errorf("generation %d after %d, run %d", older.Generation, older.Previous, older.Run)
	}
	if got := older.Frontiers["events"]; !slices.Equal(got, []int64{8, 9, 4, 5}) {
		t.Errorf("frontiers %v", got)
	}
	if got := older.Replay(); got != 6+6 {
		t.Errorf("replay of %d records", got)
	}
	// A third generation inherits what the second inherited.
	b.commitAs("2", map[int32]int64{0: 3, 3: 7})
	b.stop()
	third := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: b.save(dir, b.manifest(savepointB, 2, 3, 3, 4, 6))}).Generation
	if got := third.Frontiers["events"]; !slices.Equal(got, []int64{8, 9, 4, 7}) {
		t.Errorf("frontiers %v", got)
	}
	if got := third.Start["events"]; !slices.Equal(got, []int64{3, 3, 4, 6}) {
		t.Errorf("start %v", got)
	}
}

// Verdict, fence, offsets, topics, record: each step rests on those before.
func TestP5OrderOfAStartFromASavepoint(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 1, 2, 3, 4, 5))
	b.mustBegin(statelessJob("h1"), StartOptions{})
	zombie := b.transaction("procd.alarm.aaaaaaaaaa.0")
	var mu sync.Mutex
	var steps []string
	step := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(steps, name) {
			steps = append(steps, name)
		}
	}
	b.cluster.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		switch req := req.(type) {
		case *kmsg.InitProducerIDRequest:
			if *req.TransactionalID != ControlID(testJob) {
				step("fence")
			}
		case *kmsg.ListOffsetsRequest:
			if req.Topics[0].Topic == "events" {
				step("verdict")
			}
		case *kmsg.OffsetFetchRequest:
			step(fmt.Sprintf("offsets, stable: %v", req.RequireStable))
		case *kmsg.CreateTopicsRequest:
			step("topics")
		case *kmsg.EndTxnRequest:
			step("record")
		}
		return nil, nil, false
	})
	b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: chosen})
	if want := []string{"verdict", "fence", "offsets, stable: true", "topics", "record"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if err := zombie.EndTransaction(b.context(), kgo.TryCommit); err == nil {
		t.Error("the zombie's transaction committed after the switch")
	}
}

func TestVerdictRefusesBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		manifest func(b *bench) *savepoint.Manifest
		rule     savepoint.Rule
		command  string
	}{
		"topic": {func(b *bench) *savepoint.Manifest {
			m := b.manifest(savepointA, 1, 2, 3, 4, 5)
			m.Sources[0].ID = TopicID{9}.String()
			return m
		}, savepoint.RuleTopicID, ""},
		"beyond": {func(b *bench) *savepoint.Manifest { return b.manifest(savepointA, 1, 2, 3, 4, 50) }, savepoint.RuleOffsetsBeyond, ""},
		"lost": {func(b *bench) *savepoint.Manifest {
			if err := b.cluster.DeleteRecords("events", 1, 6); err != nil {
				b.t.Fatal(err)
			}
			return b.manifest(savepointA, 1, 2, 3, 4, 5)
		}, savepoint.RuleOffsetsLost, "procd start --savepoint " + savepointA + " --accept-gap job.yaml"},
		"partitioner": {func(b *bench) *savepoint.Manifest {
			m := b.manifest(savepointA, 1, 2, 3, 4, 5)
			m.Stages[0].Partitioner = topology.CRC32
			return m
		}, savepoint.RulePartitioner, ""},
	} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, running), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.fill(10)
				arm := b.databases(2, 3, 4, 5)
				if name == "beyond" {
					arm = b.databases(2, 3, 4, 50)
				}
				chosen := b.save(t.TempDir(), c.manifest(b), arm...)
				if running {
					b.mustBegin(alarmJob("h1"), StartOptions{})
				}
				var touched atomic.Bool
				for _, key := range []kmsg.Key{kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.InitProducerID, kmsg.Produce, kmsg.LeaveGroup} {
					b.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
						b.cluster.KeepControl()
						touched.Store(true)
						return nil, nil, false
					})
				}
				_, err := b.begin(alarmJob("h1"), StartOptions{Savepoint: chosen, JobFile: "job.yaml"})
				var refused *Refused
				if !errors.As(err, &refused) || refused.Verdict == nil || !strings.Contains(refused.Reason, "("+string(c.rule)+")") {
					t.Fatalf("got %v", err)
				}
				if refused.Verdict.Command != c.command || !strings.Contains(refused.Hint, c.command) {
					t.Errorf("next: %q, hint %q", refused.Verdict.Command, refused.Hint)
				}
				if touched.Load() {
					t.Error("the cluster was touched")
				}
			})
		}
	}
}

// databases makes the four partitions of arm.
func (b *bench) databases(offsets ...int64) (dirs []string) {
	b.t.Helper()
	for partition, offset := range offsets {
		dir := filepath.Join(b.t.TempDir(), "arm")
		b.database(dir, int32(partition), offset)
		dirs = append(dirs, dir)
	}
	return dirs
}

func TestAcceptedGapAndDropAreRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 1, 2, 3, 4, 5), b.databases(2, 3, 4, 5)...)
	if err := b.cluster.DeleteRecords("events", 1, 6); err != nil {
		t.Fatal(err)
	}
	g := b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: chosen, AcceptGap: true, Drop: []string{"arm"}}).Generation
	if g.AcceptedGap != 3 || !slices.Equal(g.Dropped, []string{"arm"}) || !slices.Equal(g.Start["events"], []int64{2, 6, 4, 5}) {
		t.Errorf("gap %d, dropped %q, start %v", g.AcceptedGap, g.Dropped, g.Start)
	}
	if len(g.Stores) != 0 {
		t.Errorf("stores %v", g.Stores)
	}
}

// A topic that the savepoint does not know starts where the job says.
func TestSourceThatTheSavepointDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	if err := b.cluster.CreateTopic("rooms", 4, nil); err != nil {
		t.Fatal(err)
	}
	b.produce("rooms", 2, b.now(), b.now())
	d := statelessJob("h1")
	d.Sources = append(d.Sources, SourceDefinition{Topic: "rooms", Start: topology.Start{Kind: topology.StartLatest}})
	d.Stages = append(d.Stages, StageDefinition{ID: "in:rooms", Sources: []string{"rooms"}, Partitioner: topology.Murmur2})
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 1, 2, 3, 4, 5))
	g := b.mustBegin(d, StartOptions{Savepoint: chosen}).Generation
	if !slices.Equal(g.Start["rooms"], []int64{0, 0, 2, 0}) || !slices.Equal(g.Start["events"], []int64{2, 3, 4, 5}) {
		t.Errorf("start %v", g.Start)
	}
}

// Both looked when there was nothing; the one that decides second does not
// rewind what the first has begun a moment ago, before its workers are seen.
func TestP7TwoStartsFromTwoSavepoints(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir := t.TempDir()
	first, second := b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5)), b.save(dir, b.manifest(savepointB, 1, 4, 4, 4, 4))
	var once atomic.Bool
	var winner *Lease
	b.cluster.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if once.CompareAndSwap(false, true) {
			b.cluster.SleepControl(func() { winner = b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: first}) })
		}
		return nil, nil, false
	})
	_, err := b.begin(statelessJob("h1"), StartOptions{Savepoint: second})
	var refused *Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "already running") || !strings.Contains(refused.Reason, savepointA) {
		t.Errorf("got %v", err)
	}
	if err := winner.Verify(b.context()); err != nil {
		t.Error(err)
	}
	if keys := b.keys(); keys["generation/1"] != 1 || keys["generation/2"] != 0 {
		t.Errorf("records %v", keys)
	}
	b.checkGenerationTopics(winner.Generation)
}

func TestP7ManyStartsFromTwoSavepoints(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir := t.TempDir()
	chosen := []*Chosen{b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5)), b.save(dir, b.manifest(savepointB, 1, 4, 4, 4, 4))}
	leases, errs := make([]*Lease, 4), make([]error, 4)
	var done sync.WaitGroup
	for i := range leases {
		p, s := b.plane(), b.seat()
		done.Go(func() {
			leases[i], errs[i] = p.begin(b.context(), statelessJob("h1"), s, StartOptions{Savepoint: chosen[i%2]})
		})
	}
	done.Wait()
	var running []string
	for i, l := range leases {
		var refused *Refused
		if errs[i] != nil && !errors.As(errs[i], &refused) {
			t.Fatal(errs[i])
		}
		if l == nil {
			continue
		}
		switch err := l.Verify(b.context()); {
		case err == nil:
			running = append(running, l.Generation.StartID)
		case !errors.Is(err, ErrSuperseded):
			t.Error(err)
		}
	}
	if slices.Sort(running); len(running) == 0 || running[0] != running[len(running)-1] {
		t.Errorf("generations of %q run", running)
	}
}

// A process of the stopped job died and is still a member: nobody has to wait
// for it to expire (P3).
func TestP3StoppedSeatsAreRemovedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	l := b.mustBegin(statelessJob("h1"), StartOptions{})
	b.stop()
	b.member("procd.alarm.aaaaaaaaaa.0", l.Protocol()).Close()
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 1, 2, 3, 4, 5))
	p := b.plane(func(s *Settings) { s.SessionTimeout = time.Hour }) // waiting would fail the test
	if _, err := p.begin(b.context(), statelessJob("h1"), b.seat(), StartOptions{Savepoint: chosen}); err != nil {
		t.Fatal(err)
	}
	if g := b.cluster.GroupInfo(Group(testJob)); len(g.Members) != 0 {
		t.Errorf("the group still has %d members", len(g.Members))
	}
}

func TestPreviewTouchesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	chosen := b.save(t.TempDir(), b.manifest(savepointA, 1, 2, 3, 4, 5))
	got, err := b.plane().preview(b.context(), statelessJob("h1"), StartOptions{Savepoint: chosen})
	if err != nil || got.Action != Create || got.Generation != 1 || got.Replay != 0 || got.Verdict == nil || !got.Verdict.OK {
		t.Errorf("first start: %+v, %v", got, err)
	}
	if found, err := b.plane().find(b.context(), ControlTopic(testJob)); err != nil || len(found) != 0 {
		t.Errorf("topics %v, %v", found, err)
	}
	b.mustBegin(statelessJob("h1"), StartOptions{})
	b.commitAs("1", map[int32]int64{0: 8})
	before := len(b.controlRecords())
	got, err = b.plane().preview(b.context(), statelessJob("h1"), StartOptions{Savepoint: chosen})
	if err != nil || got.Action != Create || got.Generation != 2 || got.Replay != 6 {
		t.Errorf("rewind: %+v, %v", got, err)
	}
	if got, err = b.plane().preview(b.context(), statelessJob("h1"), StartOptions{}); err != nil || got.Action != Join {
		t.Errorf("join: %+v, %v", got, err)
	}
	if after := len(b.controlRecords()); after != before {
		t.Errorf("%d records were written", after-before)
	}
	b.stop()
	var refused *Refused
	if _, err = b.plane().preview(b.context(), statelessJob("h1"), StartOptions{}); !errors.As(err, &refused) {
		t.Errorf("after a stop: %v", err)
	}
}

// What the engine needs to begin a store with: the savepoint's files, the
// numbers of their schemas, and this seat's directory of the old generation.
func TestP15BaseAndAdoption(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	s := b.seat()
	if _, err := b.plane().begin(b.context(), alarmJob("h1"), s, StartOptions{}); err != nil {
		t.Fatal(err)
	}
	for partition, offset := range []int64{2, 3, 4, 5} {
		b.database(s.StoreDir(1, "arm", int32(partition)), int32(partition), offset)
	}
	dir := t.TempDir()
	chosen := b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5),
		s.StoreDir(1, "arm", 0), s.StoreDir(1, "arm", 1), s.StoreDir(1, "arm", 2), s.StoreDir(1, "arm", 3))
	b.stop()
	l, err := b.plane().begin(b.context(), alarmJob("h2"), s, StartOptions{Savepoint: chosen})
	if err != nil {
		t.Fatal(err)
	}
	if versions, current, _ := l.Schemas("arm"); current != 2 || len(versions) != 2 || versions[0].Schema != `"int"` {
		t.Errorf("schemas %v, current %d", versions, current)
	}
	if err := l.Tidy(); err != nil {
		t.Fatal(err)
	}
	base, err := l.Base()
	if err != nil {
		t.Fatal(err)
	}
	part, ok := base.Part("arm", 3)
	if !ok || part.Adopt != s.StoreDir(1, "arm", 3) || len(part.Versions) != 1 || part.Part.Sources[0].Offset != 5 {
		t.Errorf("part %+v, %v", part, ok)
	}
	if _, ok := base.Part("fresh", 0); ok {
		t.Error("a new store has a base")
	}
	native := part.Store(b.context())
	for _, f := range native.Files {
		checkFile(t, native, f)
	}
	if native.Instance != "db3" || native.Position.Changelog != 3 {
		t.Errorf("instance %s at %v", native.Instance, native.Position)
	}
	// Once detached, the old generation goes: directory and topics.
	if err := errors.Join(l.Prune(), l.Detached(b.context())); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.AdoptDir("arm", 3); ok {
		t.Error("the old generation's stores are still there")
	}
	b.checkGenerationTopics(l.Generation)
}

func checkFile(t *testing.T, base kstate.Base, f kstate.BaseFile) {
	t.Helper()
	in, err := base.Open(f.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if n, err := io.Copy(io.Discard, in); err != nil || n != f.Size {
		t.Errorf("%s: %d bytes of %d, %v", f.Name, n, f.Size, err)
	}
}

func TestP16BaseThatIsNotThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fill(10)
	dir, elsewhere := t.TempDir(), t.TempDir()
	chosen := b.save(dir, b.manifest(savepointA, 1, 2, 3, 4, 5))
	b.mustBegin(statelessJob("h1"), StartOptions{Savepoint: chosen})
	moved := filepath.Join(elsewhere, savepointA)
	if err := os.Rename(chosen.Path, moved); err != nil {
		t.Fatal(err)
	}
	// Another savepoint in its place does not pass for it.
	if err := os.Rename(b.save(t.TempDir(), b.manifest(savepointA, 1, 4, 4, 4, 4)).Path, chosen.Path); err != nil {
		t.Fatal(err)
	}
	// Before it takes part: P13.
	_, err := b.begin(statelessJob("h1"), StartOptions{})
	var refused *Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, savepointA) || !strings.Contains(refused.Reason, chosen.Path) {
		t.Errorf("joined: %v", err)
	}
	for name, o := range map[string]StartOptions{
		"directory": {SavepointDir: elsewhere},
		"path":      {Savepoint: b.choose(moved, moved)},
	} {
		if base, err := b.mustBegin(statelessJob("h1"), o).Base(); err != nil || base.Dir != moved {
			t.Errorf("%s: got %v, %v", name, base, err)
		}
	}
	// A generation that is detached does without it.
	if err := b.mustBegin(statelessJob("h1"), StartOptions{SavepointDir: elsewhere}).Detached(b.context()); err != nil {
		t.Fatal(err)
	}
	b.mustBegin(statelessJob("h1"), StartOptions{})
	if base, err := newBench(t).mustBegin(statelessJob("h1"), StartOptions{}).Base(); base != nil || err != nil {
		t.Errorf("a generation without one: %v, %v", base, err)
	}
}
