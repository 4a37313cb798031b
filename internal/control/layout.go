package control

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// topicSpec is an internal topic to be created (P26).
type topicSpec struct {
	name       string
	partitions int32
	configs    map[string]string
}

// Every internal topic takes the producer's timestamps as they are: a record
// that the broker refuses for its time would abort its transaction for ever
// (P22). The value is the largest that Kafka knows.
var anyTimestamp = map[string]string{
	"message.timestamp.type":         "CreateTime",
	"message.timestamp.after.max.ms": "9223372036854775807",
}

func changelogConfigs() map[string]string {
	return with(anyTimestamp, "cleanup.policy", "compact")
}

// positionsConfigs keep the topic short, for it is read backwards from its end
// at every start (P8).
func positionsConfigs() map[string]string {
	return with(anyTimestamp,
		"cleanup.policy", "compact",
		"segment.bytes", strconv.Itoa(16<<20),
		"segment.ms", strconv.FormatInt((10*time.Minute).Milliseconds(), 10),
		"min.cleanable.dirty.ratio", "0.1",
	)
}

// controlConfigs keep the topic short too: every process reads all of it.
func controlConfigs() map[string]string { return positionsConfigs() }

// repartitionConfigs never delete: what is consumed is purged by the engine,
// behind the committed positions (P23).
func repartitionConfigs() map[string]string {
	return with(anyTimestamp, "cleanup.policy", "delete", "retention.ms", "-1", "retention.bytes", "-1")
}

func with(base map[string]string, pairs ...string) map[string]string {
	configs := make(map[string]string, len(base)+len(pairs)/2)
	for k, v := range base {
		configs[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		configs[pairs[i]] = pairs[i+1]
	}
	return configs
}

// layOut says which internal topics a generation needs, given the partition
// counts of the sources. A stage has as many tasks as its widest source has
// partitions; without a source, as the widest stage that feeds it.
func layOut(d Definition, job string, generation int, sources map[string]int32) ([]StageRef, []topicSpec, error) {
	counts, err := stagePartitions(d, sources)
	if err != nil {
		return nil, nil, err
	}
	g := Generation{Job: job, Generation: generation}
	var stages []StageRef
	var topics []topicSpec
	widest := int32(0)
	for _, s := range d.Stages {
		n := counts[s.ID]
		widest = max(widest, n)
		stages = append(stages, StageRef{ID: s.ID, Inputs: kafkaInputs(g, s), Partitions: n})
		for _, name := range s.Repartitions {
			topics = append(topics, topicSpec{RepartitionTopic(job, generation, name), n, repartitionConfigs()})
		}
	}
	for _, s := range d.Stores {
		topics = append(topics, topicSpec{ChangelogTopic(job, generation, s.UID), counts[s.Stage], changelogConfigs()})
	}
	topics = append(topics, topicSpec{PositionsTopic(job, generation), widest, positionsConfigs()})
	return stages, topics, nil
}

func stagePartitions(d Definition, sources map[string]int32) (map[string]int32, error) {
	counts := make(map[string]int32)
	for _, s := range d.Stages {
		n, err := sourcePartitions(d, s, sources)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			counts[s.ID] = n
		}
	}
	// Each pass settles the stages one repartition further down.
	for range d.Stages {
		for _, s := range d.Stages {
			if len(s.Sources) > 0 {
				continue
			}
			for _, up := range d.Stages {
				if feeds(up, s) {
					counts[s.ID] = max(counts[s.ID], counts[up.ID])
				}
			}
		}
	}
	for _, s := range d.Stages {
		if counts[s.ID] == 0 {
			return nil, fmt.Errorf("procd/control: stage %q reads no topic that another stage or a source fills", s.ID)
		}
	}
	return counts, nil
}

// sourcePartitions is the partition count of the stage's sources, 0 if it has
// none. With state they must be equal, or one key would be on two partitions.
func sourcePartitions(d Definition, s StageDefinition, sources map[string]int32) (int32, error) {
	n := int32(0)
	for i, topic := range s.Sources {
		have := sources[topic]
		if i > 0 && have != n && stateful(d, s.ID) {
			return 0, &Refused{
				Reason: fmt.Sprintf("stage %q keeps state, but %s has %d partitions and %s has %d", s.ID, s.Sources[i-1], n, topic, have),
				Hint:   "give them the same number of partitions, or add a key step",
			}
		}
		n = max(n, have)
	}
	return n, nil
}

func stateful(d Definition, stage string) bool {
	return slices.ContainsFunc(d.Stores, func(s StoreDefinition) bool { return s.Stage == stage })
}

func feeds(up, down StageDefinition) bool {
	return slices.ContainsFunc(up.Feeds, func(name string) bool { return slices.Contains(down.Repartitions, name) })
}
