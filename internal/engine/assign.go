package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancer is the group protocol of a job. It assigns tasks, that is all
// inputs of one stage with the same partition number, and is cooperative.
//
// Its wire format is the standard consumer protocol, so that lag tools can read
// the group (O9); what procd adds travels in the user data.
type balancer struct {
	protocol string // names generation, revision and job (P2)
	layout   *layout
	// claims returns what JoinGroup says about this member beyond what it owns.
	claims func() memberData
	// assigned receives every assignment whole, before its first fetch (P19).
	assigned func(tasks map[taskRef]struct{}, incomplete bool)
}

// memberData is the user data of a member's JoinGroup metadata.
type memberData struct {
	Warm  map[string][]int32 `json:"warm,omitempty"`  // stage id -> partitions with state on disk
	Nudge int                `json:"nudge,omitempty"` // counts forced rejoins, so that the metadata differs
}

// incompleteMark is the user data of an assignment that leaves out tasks on
// their way from one member to another.
var incompleteMark = []byte("incomplete")

func (b *balancer) ProtocolName() string { return b.protocol }
func (b *balancer) IsCooperative() bool  { return true }

func (b *balancer) JoinGroupMetadata(topics []string, current map[string][]int32, epoch int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3 // with owned partitions and the epoch they are from
	meta.Topics = topics
	meta.Generation = epoch
	for topic, partitions := range current {
		owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
		owned.Topic = topic
		owned.Partitions = partitions
		meta.OwnedPartitions = append(meta.OwnedPartitions, owned)
	}
	slices.SortFunc(meta.OwnedPartitions, func(a, c kmsg.ConsumerMemberMetadataOwnedPartition) int {
		if a.Topic < c.Topic {
			return -1
		}
		return 1
	})
	data, err := json.Marshal(b.claims())
	if err != nil {
		panic(fmt.Sprintf("procd/engine: member data does not encode: %v", err)) // strings and numbers always do
	}
	meta.UserData = data
	return meta.AppendTo(nil)
}

func (b *balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(assignment); err != nil {
		return nil, fmt.Errorf("procd/engine: reading the group's assignment: %w", err)
	}
	partitions := make(map[string][]int32, len(a.Topics))
	for _, t := range a.Topics {
		partitions[t.Topic] = t.Partitions
	}
	b.assigned(b.layout.wholeTasks(partitions), string(a.UserData) == string(incompleteMark))
	return partitions, nil
}

func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	return cb, cb.MemberTopics(), err
}

// Balance is called on the group's leader.
func (b *balancer) Balance(cb *kgo.ConsumerBalancer, _ map[string]int32) kgo.IntoSyncAssignment {
	var members []claim
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		members = append(members, b.claim(m.MemberID, meta))
	})
	plan := balance(b.layout.partitions(), members)
	incomplete := withholdMoving(members, plan)
	return b.assignment(members, plan, incomplete)
}

func (b *balancer) claim(id string, meta *kmsg.ConsumerMemberMetadata) claim {
	c := claim{id: id, epoch: meta.Generation, owned: map[taskRef]struct{}{}, warm: map[taskRef]struct{}{}}
	for _, t := range meta.OwnedPartitions {
		stage, ok := b.layout.stageOf(t.Topic)
		if !ok {
			continue
		}
		for _, p := range t.Partitions {
			c.owned[taskRef{stage, p}] = struct{}{}
		}
	}
	var data memberData
	if json.Unmarshal(meta.UserData, &data) != nil {
		return c // somebody else's user data says nothing about disks
	}
	for id, partitions := range data.Warm {
		stage := b.layout.stageByID(id)
		for _, p := range partitions {
			c.warm[taskRef{stage, p}] = struct{}{}
		}
	}
	return c
}

// assignment encodes a plan: every input topic of a task's stage, with the
// task's partition number.
func (b *balancer) assignment(members []claim, plan [][]taskRef, incomplete bool) syncPlan {
	var out syncPlan
	for m, tasks := range plan {
		byTopic := map[string][]int32{}
		for _, t := range tasks {
			for _, topic := range b.layout.stages[t.stage].inputs {
				byTopic[topic] = append(byTopic[topic], t.partition)
			}
		}
		a := kmsg.NewConsumerMemberAssignment()
		for _, topic := range sortedKeys(byTopic) {
			at := kmsg.NewConsumerMemberAssignmentTopic()
			at.Topic = topic
			at.Partitions = byTopic[topic]
			a.Topics = append(a.Topics, at)
		}
		if incomplete {
			a.UserData = incompleteMark
		}
		s := kmsg.NewSyncGroupRequestGroupAssignment()
		s.MemberID = members[m].id
		s.MemberAssignment = a.AppendTo(nil)
		out = append(out, s)
	}
	return out
}

type syncPlan []kmsg.SyncGroupRequestGroupAssignment

func (p syncPlan) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment { return p }
