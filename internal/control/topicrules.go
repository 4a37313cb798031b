package control

import (
	"fmt"
	"strings"
)

// foundTopic is a topic as it is in the cluster now.
type foundTopic struct {
	ID         TopicID
	Partitions int32
	Policy     string // cleanup.policy; "" where it was not asked for
}

// checkTopics compares the topics of a generation with those that exist: the
// same id (O4), the same number of partitions (O5), and compaction where
// deleting old records would delete state. The first misfit is the answer.
func checkTopics(g Generation, found map[string]foundTopic) *Refused {
	for _, want := range g.Sources {
		have, ok := found[want.Name]
		switch {
		case !ok:
			return &Refused{
				Reason: fmt.Sprintf("source topic %s does not exist any more", want.Name),
				Hint:   resetHint(g.Job),
			}
		case have.ID != want.ID:
			return &Refused{
				Reason: fmt.Sprintf("source topic %s was deleted and created again: its id is %s, generation %d reads %s, and the job's offsets mean nothing in it",
					want.Name, have.ID, g.Generation, want.ID),
				Hint: resetHint(g.Job),
			}
		case have.Partitions != want.Partitions:
			return &Refused{
				Reason: fmt.Sprintf("partition count of %s changed from %d to %d; state cannot follow", want.Name, want.Partitions, have.Partitions),
				Hint:   fmt.Sprintf("put %d back, or %s", want.Partitions, resetHint(g.Job)),
			}
		}
	}
	for _, want := range g.Topics {
		have, ok := found[want.Name]
		switch {
		case !ok:
			return lost(g, want, "does not exist any more")
		case have.ID != want.ID:
			return lost(g, want, fmt.Sprintf("was deleted and created again: its id is %s, not %s", have.ID, want.ID))
		case have.Partitions != want.Partitions:
			return lost(g, want, fmt.Sprintf("has %d partitions, not %d", have.Partitions, want.Partitions))
		}
		if refused := checkPolicy(want.Name, have.Policy); refused != nil {
			return refused
		}
	}
	return checkPolicy(ControlTopic(g.Job), found[ControlTopic(g.Job)].Policy)
}

// checkPolicy refuses a topic of state whose old records would be deleted. An
// unknown policy passes.
func checkPolicy(topic, policy string) *Refused {
	if policy == "" || policy == "compact" || !compacted(topic) {
		return nil
	}
	return &Refused{
		Reason: fmt.Sprintf("topic %s has cleanup.policy=%s, not compact: its oldest records, which hold state, would be deleted", topic, policy),
		Hint:   fmt.Sprintf("kafka-configs.sh --alter --topic %s --add-config cleanup.policy=compact", topic),
	}
}

// compacted says whether an internal topic of that name holds state by key.
func compacted(topic string) bool {
	return !strings.HasSuffix(topic, ".repartition")
}

func lost(g Generation, topic TopicRef, what string) *Refused {
	return &Refused{
		Reason: fmt.Sprintf("internal topic %s of generation %d %s", topic.Name, g.Generation, what),
		Hint:   resetHint(g.Job),
	}
}

func resetHint(job string) string { return "procd reset " + job + " and lose the state" }
