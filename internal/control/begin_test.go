package control

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/topology"
)

func TestBegin(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	if l.Generation.Generation != 1 || l.Revision != 0 || l.Run != 1 || l.Protocol() != "procd-g1r0-h1" {
		t.Errorf("lease %+v", l)
	}
	if at, ok := l.Start("events", 3); !ok || at != 0 {
		t.Errorf("start of events/3: %d, %v", at, ok)
	}
	if _, ok := l.Start("events", 4); ok {
		t.Error("a partition that does not exist has a start")
	}
	if versions, current, ok := l.Schemas("arm"); !ok || current != 1 || len(versions) != 1 || versions[0].Schema != `"long"` {
		t.Errorf("schemas %v, current %d", versions, current)
	}
	if _, _, ok := l.Schemas("none"); ok {
		t.Error("a store that does not exist has schemas")
	}
	b.checkGenerationTopics(l.Generation)
	// Joining writes nothing.
	before := len(b.controlRecords())
	again := b.mustBegin(alarmJob("h1"), StartOptions{})
	if again.Generation.StartID != l.StartID || again.Run != 1 || again.StartID == l.StartID {
		t.Errorf("second start got the record of %s", again.Generation.StartID)
	}
	if after := len(b.controlRecords()); after != before {
		t.Errorf("joining wrote %d records", after-before)
	}
}

// A plan made by the topology package gets the topics it needs.
func TestBeginWithPlan(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := topology.New(testJob)
	events := topology.From(job, "events", codec.String())
	keyed := topology.KeyBy(events, "room", func(s string) string { return s }, codec.String())
	total := topology.Reduce(keyed, "total", func(a, b string) string { return a + b })
	topology.To(total, "alarms", codec.String())
	plan, err := job.Plan()
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.plane().Begin(b.context(), plan, b.seat(), StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if l.JobHash != plan.Hash {
		t.Errorf("hash %s, want %s", l.JobHash, plan.Hash)
	}
	var names []string
	for _, topic := range l.Generation.Topics {
		names = append(names, topic.Name)
	}
	want := []string{"procd.alarm.g1.room.repartition", "procd.alarm.g1.total.changelog", "procd.alarm.g1.positions"}
	if !slices.Equal(sorted(names), sorted(want)) {
		t.Errorf("topics %q", names)
	}
	b.checkGenerationTopics(l.Generation)
}

// checkGenerationTopics checks that the internal topics in Kafka are those of
// the record: the same ids and partition counts, and no others (P1).
func (b *bench) checkGenerationTopics(g Generation) {
	b.t.Helper()
	have, err := b.plane().generationTopics(b.context())
	if err != nil {
		b.t.Fatal(err)
	}
	want := slices.Clone(g.Topics)
	slices.SortFunc(want, func(x, y TopicRef) int { return strings.Compare(x.Name, y.Name) })
	if !slices.Equal(have, want) {
		b.t.Errorf("topics in Kafka %v, in the record %v", have, want)
	}
}

func TestBeginNamesMissingTopicsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := alarmJob("h1")
	d.Sources[0].Topic, d.Stages[0].Sources[0], d.Outputs[0] = "evnts", "evnts", "alrms"
	_, err := b.begin(d, StartOptions{})
	if !errors.Is(err, ErrTopicMissing) || !strings.Contains(err.Error(), "evnts, alrms") {
		t.Errorf("got %v", err)
	}
	topics, err := b.adm.ListTopics(b.context())
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(topics)); !slices.Equal(got, []string{"alarms", "events"}) {
		t.Errorf("topics %q", got)
	}
}

func TestP1TwoStartsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const starts = 4
	leases := make([]*Lease, starts)
	errs := make([]error, starts)
	planes, seats := make([]*Plane, starts), make([]string, starts)
	var done sync.WaitGroup
	for i := range starts {
		planes[i] = b.plane()
		s := b.seat()
		seats[i] = s.ID()
		done.Go(func() { leases[i], errs[i] = planes[i].begin(b.context(), alarmJob("h1"), s, StartOptions{}) })
	}
	done.Wait()
	for i := range starts {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if leases[i].Generation.StartID != leases[0].Generation.StartID {
			t.Errorf("start %d runs the generation of %s, start 0 that of %s", i, leases[i].Generation.StartID, leases[0].Generation.StartID)
		}
		if err := leases[i].Verify(b.context()); err != nil {
			t.Errorf("start %d: %v", i, err)
		}
	}
	if keys := b.keys(); keys["generation/1"] != 1 || len(keys) != 3 {
		t.Errorf("records %v", keys)
	}
	b.checkGenerationTopics(leases[0].Generation)
}

// A decider that slept while another one decided: its record must not count.
func TestP1FencedDeciderWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.mustBegin(alarmJob("h1"), StartOptions{})
	p := b.plane()
	if err := p.attach(b.context()); err != nil {
		t.Fatal(err)
	}
	slow, err := p.becomeDecider(b.context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.close()
	if _, err := b.plane().Stop(b.context()); err != nil {
		t.Fatal(err)
	}
	err = slow.commit(b.context(), p.stateEntry(Running, State{Generation: 1, Run: 7}))
	if !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	if err := p.tail.ReadToEnd(b.context()); err != nil {
		t.Fatal(err)
	}
	if s := p.tail.View().State(); s.State != Stopped || s.Run != first.Run {
		t.Errorf("state %+v", s)
	}
}

// The same decider, asleep before it removed what it found left over: the
// topics of the decider after it have other ids, and stay.
func TestP1FencedDeciderRemovesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := ChangelogTopic(testJob, 1, "arm")
	if err := b.cluster.CreateTopic(old, 1, nil); err != nil {
		t.Fatal(err)
	}
	slow := b.plane()
	before, err := slow.generationTopics(b.context())
	if err != nil || len(before) != 1 {
		t.Fatalf("left over: %v, %v", before, err)
	}
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	if ref, ok := l.Generation.Topic(old); !ok || ref.ID == before[0].ID {
		t.Fatalf("the generation runs on the topic that was left over: %v", ref)
	}
	if err := slow.remove(b.context(), before); err != nil {
		t.Fatal(err)
	}
	b.checkGenerationTopics(l.Generation)
}

func TestP1UnknownOutcomeIsReadBack(t *testing.T) {
	t.Parallel()
	for name, applied := range map[string]bool{"applied": true, "not applied": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var once atomic.Bool
			b.cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
				b.cluster.KeepControl()
				if !once.CompareAndSwap(false, true) {
					return nil, nil, false
				}
				if applied { // through another connection, while this one waits
					b.cluster.SleepControl(func() {
						if _, err := b.cl.Request(b.context(), req); err != nil {
							t.Error(err)
						}
					})
				}
				resp := req.ResponseKind().(*kmsg.EndTxnResponse)
				resp.ErrorCode = kerr.UnknownServerError.Code
				return resp, nil, true
			})
			l := b.mustBegin(alarmJob("h1"), StartOptions{})
			if l.Generation.StartID != l.StartID || l.Generation.Generation != 1 {
				t.Errorf("runs generation %d of %s", l.Generation.Generation, l.Generation.StartID)
			}
			if keys := b.keys(); keys["generation/1"] != 1 || keys["state"] != 1 {
				t.Errorf("records %v", keys)
			}
			b.checkGenerationTopics(l.Generation)
		})
	}
}

func TestP1UnknownCreationIsRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	faults := b.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: PositionsTopic(testJob, 1), Err: kerr.RequestTimedOut,
	})
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	if faults.Hits() != 1 {
		t.Fatalf("%d faults", faults.Hits())
	}
	b.checkGenerationTopics(l.Generation)
}

// kadm reports an error of one member, topic or partition beside the others'
// success: none may be taken for success of all.
func TestP1PartialFailuresAreFailures(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kfake.Fault{
		"one topic":            {Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: ChangelogTopic(testJob, 1, "arm"), Err: kerr.PolicyViolation, Count: -1},
		"one offset":           {Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "events", Partitions: []int32{2}, Err: kerr.UnsupportedForMessageFormat, Count: -1},
		"list of transactions": {Keys: []kmsg.Key{kmsg.ListTransactions}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed, Count: -1},
		"group":                {Keys: []kmsg.Key{kmsg.DescribeGroups}, Group: Group(testJob), Err: kerr.GroupAuthorizationFailed, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.cluster.Fault(fault)
			if _, err := b.begin(alarmJob("h1"), StartOptions{}); err == nil || !strings.Contains(err.Error(), fault.Err.Message) {
				t.Errorf("got %v", err)
			}
			if keys := b.keys(); len(keys) != 0 {
				t.Errorf("records %v", keys)
			}
		})
	}
}

// On a cluster that nobody has used yet, coordinators are missing for a while.
func TestBeginWaitsForTheGroupsCoordinator(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const answers = 10
	missing := b.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.FindCoordinator}, Group: Group(testJob), Err: kerr.CoordinatorNotAvailable, Count: answers,
	})
	b.mustBegin(alarmJob("h1"), StartOptions{})
	if missing.Hits() != answers {
		t.Errorf("asked %d times", missing.Hits())
	}
}

func TestO2StartOffsets(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	now := b.now()
	for partition := range int32(4) {
		b.produce("events", partition, now.Add(-3*hour), now.Add(-2*hour), now.Add(-hour))
	}
	if err := b.cluster.DeleteRecords("events", 1, 2); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		start topology.Start
		want  []int64
	}{
		"default":  {topology.Start{}, []int64{0, 2, 0, 0}},
		"earliest": {topology.Start{Kind: topology.StartEarliest}, []int64{0, 2, 0, 0}},
		"latest":   {topology.Start{Kind: topology.StartLatest}, []int64{3, 3, 3, 3}},
		"time":     {topology.Start{Kind: topology.StartAtTime, Time: now.Add(-2 * hour).UnixMilli()}, []int64{1, 2, 1, 1}},
		"ago":      {topology.Start{Kind: topology.StartAgo, Ago: hour + hour/2}, []int64{2, 2, 2, 2}},
		"future":   {topology.Start{Kind: topology.StartAtTime, Time: now.Add(hour).UnixMilli()}, []int64{3, 3, 3, 3}},
	} {
		p := b.plane()
		got, err := p.resolveStart(b.context(), []SourceDefinition{{Topic: "events", Start: c.start}}, map[string]int32{"events": 4})
		if err != nil || !slices.Equal(got["events"], c.want) {
			t.Errorf("%s: got %v, want %v, %v", name, got["events"], c.want, err)
		}
	}
}

func TestP26InternalTopicConfigs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	configs := make(map[string]map[string]string)
	b.cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
			configs[topic.Topic] = make(map[string]string)
			for _, c := range topic.Configs {
				configs[topic.Topic][c.Name] = *c.Value
			}
			if topic.ReplicationFactor != -1 {
				t.Errorf("%s: replication factor %d, not the broker's default", topic.Topic, topic.ReplicationFactor)
			}
		}
		return nil, nil, false
	})
	d := alarmJob("h1")
	d.Stages[0].Feeds = []string{"room"}
	d.Stages = append(d.Stages, StageDefinition{ID: "by:room", Repartitions: []string{"room"}})
	b.mustBegin(d, StartOptions{})
	const never = "9223372036854775807"
	for topic, want := range map[string]map[string]string{
		"procd.alarm.g1.arm.changelog":    {"cleanup.policy": "compact", "message.timestamp.after.max.ms": never},
		"procd.alarm.g1.room.repartition": {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.after.max.ms": never},
		"procd.alarm.g1.positions": {
			"cleanup.policy": "compact", "message.timestamp.after.max.ms": never,
			"segment.bytes": "16777216", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1",
		},
		"procd.alarm.control": {"cleanup.policy": "compact", "message.timestamp.after.max.ms": never},
	} {
		for key, value := range want {
			if got := configs[topic][key]; got != value {
				t.Errorf("%s: %s is %q, want %q", topic, key, got, value)
			}
		}
	}
}

func TestJoinRefusesChangedTopics(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(b *bench) error
		want   string
	}{
		"O4 source recreated": {func(b *bench) error {
			if err := b.cluster.DeleteTopic("events"); err != nil {
				return err
			}
			return b.cluster.CreateTopic("events", 4, nil)
		}, "source topic events was deleted and created again"},
		"O4 source gone":   {func(b *bench) error { return b.cluster.DeleteTopic("events") }, "source topic events does not exist any more"},
		"changelog gone":   {func(b *bench) error { return b.cluster.DeleteTopic(ChangelogTopic(testJob, 1, "arm")) }, "does not exist any more"},
		"O5 partitions":    {func(b *bench) error { return b.morePartitions("events", 6) }, "partition count of events changed from 4 to 6"},
		"changelog policy": {func(b *bench) error { return b.policy(ChangelogTopic(testJob, 1, "arm"), "delete") }, "has cleanup.policy=delete, not compact"},
		"control policy":   {func(b *bench) error { return b.policy(ControlTopic(testJob), "delete") }, "procd.alarm.control has cleanup.policy=delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			l := b.mustBegin(alarmJob("h1"), StartOptions{})
			if err := c.change(b); err != nil {
				t.Fatal(err)
			}
			var refused *Refused
			_, err := b.begin(alarmJob("h1"), StartOptions{})
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.want) || refused.Hint == "" {
				t.Errorf("start: got %v", err)
			}
			if err := l.CheckTopics(b.context()); !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.want) {
				t.Errorf("running: got %v", err)
			}
		})
	}
}

func (b *bench) morePartitions(topic string, n int) error {
	resps, err := b.adm.UpdatePartitions(b.context(), n, topic)
	return errors.Join(err, resps.Error())
}

func (b *bench) policy(topic, policy string) error { return b.configure(topic, cleanupPolicy, policy) }

func (b *bench) configure(topic, key, value string) error {
	resps, err := b.adm.AlterTopicConfigs(b.context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err != nil {
		return err
	}
	_, err = resps.On(topic, nil)
	return err
}
