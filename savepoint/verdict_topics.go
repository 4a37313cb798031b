package savepoint

import (
	"fmt"
	"slices"
)

// topics judges the sources of the savepoint and of the job.
func (j *judge) topics() {
	reads := make(map[string]bool)
	for _, s := range j.plan.Stages {
		for _, topic := range s.Sources {
			reads[topic] = true
		}
	}
	offsets := j.m.Offsets()
	for _, t := range j.m.Sources {
		if reads[t.Name] {
			j.topic(t, offsets[t.Name])
			continue
		}
		j.add(Line{Rule: RuleSourceDropped, Level: Warn, Subject: t.Name,
			Text: fmt.Sprintf("job %s does not read topic %s any more; its offsets are forgotten", j.plan.Job, t.Name)})
	}
	for _, topic := range sortedKeys(reads) {
		if !slices.ContainsFunc(j.m.Sources, func(t Topic) bool { return t.Name == topic }) {
			j.add(Line{Rule: RuleSourceNew, Level: Note, Subject: topic,
				Text: fmt.Sprintf("topic %s is new and read from where input.start says", topic)})
		}
	}
}

// topic judges one topic that the job goes on to read. No flag accepts another
// topic of the same name: its offsets mean other records.
func (j *judge) topic(t Topic, offsets []int64) {
	f, asked := j.o.Topics[t.Name]
	switch {
	case !asked:
	case f.Missing:
		j.add(Line{Rule: RuleTopicMissing, Level: Refuse, Subject: t.Name,
			Text: fmt.Sprintf("topic %s does not exist", t.Name),
			Hint: "check --brokers and the topic's name"})
	case f.ID != t.ID:
		j.add(Line{Rule: RuleTopicID, Level: Refuse, Subject: t.Name,
			Text: fmt.Sprintf("topic %s was deleted and made again since the savepoint (id %s, now %s): the savepoint's offsets mean nothing in it", t.Name, t.ID, f.ID),
			Hint: "start without --savepoint after procd reset " + j.plan.Job})
	case f.Partitions != t.Partitions:
		j.add(Line{Rule: RulePartitions, Level: Refuse, Subject: t.Name,
			Text: fmt.Sprintf("topic %s had %d partitions and has %d now; state cannot follow", t.Name, t.Partitions, f.Partitions),
			Hint: fmt.Sprintf("put %d partitions back, or start without --savepoint after procd reset %s", t.Partitions, j.plan.Job)})
	default:
		for p, offset := range offsets {
			j.offset(fmt.Sprintf("%s/%d", t.Name, p), offset, at(f.Start, p), at(f.End, p))
		}
	}
}

// offset judges the offset of one partition against what the topic still has.
func (j *judge) offset(where string, offset, start, end int64) {
	switch {
	case offset < start && j.o.AcceptGap:
		j.add(Line{Rule: RuleGapAccepted, Level: Warn, Subject: where, Count: start - offset,
			Text: fmt.Sprintf("%s of %s, offsets %d to %d, are skipped: retention has removed them", count(start-offset, "record"), where, offset, start-1)})
	case offset < start:
		j.add(Line{Rule: RuleOffsetsLost, Level: Refuse, Subject: where, Count: start - offset, Flag: "--accept-gap",
			Text: fmt.Sprintf("retention has removed %s of %s that the job had not read at the savepoint, offsets %d to %d (savepoint of %s)", count(start-offset, "record"), where, offset, start-1, j.m.CreatedAt.UTC().Format("2006-01-02T15:04:05Z")),
			Hint: "take a newer savepoint, or go on without these records"})
	case offset > end:
		j.add(Line{Rule: RuleOffsetsBeyond, Level: Refuse, Subject: where, Count: offset - end,
			Text: fmt.Sprintf("%s ends at offset %d, %s before the savepoint's %d: records were lost", where, end, count(offset-end, "record"), offset),
			Hint: "check --brokers; if the topic was truncated, start from a savepoint that was taken before offset " + fmt.Sprint(end)})
	}
}

// at is an element, 0 where the facts do not have it.
func at(offsets []int64, p int) int64 {
	if p < len(offsets) {
		return offsets[p]
	}
	return 0
}
