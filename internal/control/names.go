package control

import (
	"fmt"
	"strconv"
	"strings"
)

// Group is the consumer group of a job.
func Group(job string) string { return "procd." + job }

// ControlTopic is the topic that this package owns: one partition, compacted.
func ControlTopic(job string) string { return "procd." + job + ".control" }

// ControlID is the transactional id that every deciding write goes through,
// which is what makes the decider one (P1).
func ControlID(job string) string { return "procd." + job + ".control" }

// ChangelogTopic is the changelog of one store in one generation.
func ChangelogTopic(job string, generation int, store string) string {
	return generationPrefix(job, generation) + store + ".changelog"
}

// RepartitionTopic is the topic between two stages in one generation.
func RepartitionTopic(job string, generation int, name string) string {
	return generationPrefix(job, generation) + name + ".repartition"
}

// PositionsTopic holds the position records of one generation (P8).
func PositionsTopic(job string, generation int) string {
	return generationPrefix(job, generation) + "positions"
}

// generationPrefix is what the names of a generation's topics begin with.
func generationPrefix(job string, generation int) string {
	return "procd." + job + ".g" + strconv.Itoa(generation) + "."
}

// topicGeneration is the generation that an internal topic belongs to.
func topicGeneration(job, topic string) (generation int, ok bool) {
	rest, ok := strings.CutPrefix(topic, "procd."+job+".g")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ".")
	if !ok {
		return 0, false
	}
	g, err := strconv.Atoi(digits)
	return g, err == nil && g > 0
}

// jobOfControlTopic is the job whose control topic this is.
func jobOfControlTopic(topic string) (job string, ok bool) {
	rest, ok := strings.CutPrefix(topic, "procd.")
	if !ok {
		return "", false
	}
	job, ok = strings.CutSuffix(rest, ".control")
	return job, ok && job != "" && !strings.Contains(job, ".")
}

// transactionPrefix is what the job's transactional ids begin with. A job's
// name holds no dot, so no other job's ids begin with it.
func transactionPrefix(job string) string { return "procd." + job + "." }

// ProtocolName is the name of the group's balancer. The group refuses members
// that do not know it, which is what keeps old code out (P2).
func ProtocolName(generation, revision int, jobHash string) string {
	return fmt.Sprintf("procd-g%dr%d-%s", generation, revision, jobHash)
}
