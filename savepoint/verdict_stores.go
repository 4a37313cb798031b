package savepoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/procd/procd/topology"
)

// drops checks the uids of --drop: a typo must not look as if it had worked.
func (j *judge) drops() {
	for _, uid := range j.o.Drop {
		if _, ok := j.m.Store(uid); !ok {
			j.add(Line{Rule: RuleDropUnknown, Level: Refuse, Subject: uid,
				Text: fmt.Sprintf("--drop %s: the savepoint has no state for %q", uid, uid),
				Hint: "it has " + list(j.uids()) + "; correct or leave out the flag"})
		} else if _, ok := j.planStore(uid); ok {
			j.add(Line{Rule: RuleDropUnknown, Level: Refuse, Subject: uid,
				Text: fmt.Sprintf("--drop %s: job %s still has a step %q, which would start empty", uid, j.plan.Job, uid),
				Hint: "leave out the flag, or give the step another uid to start it empty"})
		}
	}
}

func (j *judge) uids() []string {
	uids := make([]string, len(j.m.Stores))
	for i, s := range j.m.Stores {
		uids[i] = s.UID
	}
	return uids
}

// store judges one store of the savepoint.
func (j *judge) store(s *Store) {
	p, ok := j.planStore(s.UID)
	if !ok {
		j.missing(s)
		return
	}
	if s.KeyType != p.KeyType {
		j.add(Line{Rule: RuleKeyType, Level: Refuse, Subject: s.UID, Count: s.Entries(),
			Text: fmt.Sprintf("the key of %q changed from %s to %s; its state would never be found", s.UID, s.KeyType, p.KeyType),
			Hint: "change the key back, or give the step another uid and drop the state of this one"})
	}
	j.moved(s, p)
	j.schemas(s, p)
}

func (j *judge) missing(s *Store) {
	rows := s.Entries()
	if slices.Contains(j.o.Drop, s.UID) {
		j.add(Line{Rule: RuleStoreDropped, Level: Note, Subject: s.UID, Count: rows,
			Text: fmt.Sprintf("state for %q is dropped, %s", s.UID, count(rows, "row"))})
		return
	}
	hint := fmt.Sprintf("give the step its uid %q back, or drop the state", s.UID)
	if to := j.renamedTo(s); len(to) > 0 {
		hint = fmt.Sprintf("%s has the same state type: if it is the same step, rename it back to %q; otherwise drop the state", list(to), s.UID)
	}
	j.add(Line{Rule: RuleStoreMissing, Level: Refuse, Subject: s.UID, Count: rows, Flag: "--drop " + s.UID, Hint: hint,
		Text: fmt.Sprintf("the savepoint has state for %q, %s, which job %s does not have", s.UID, count(rows, "row"), j.plan.Job)})
}

// renamedTo are the stores that only the job has, with the key type and the
// schema of one that only the savepoint has.
func (j *judge) renamedTo(s *Store) (uids []string) {
	schema, _ := s.Schema(s.Current)
	for _, p := range j.plan.Stores {
		if _, had := j.m.Store(p.UID); !had && p.KeyType == s.KeyType && sameSchema(schema, p.Schema) {
			uids = append(uids, p.UID)
		}
	}
	return uids
}

func (j *judge) newStores() {
	for _, p := range j.plan.Stores {
		if _, had := j.m.Store(p.UID); !had {
			j.add(Line{Rule: RuleStoreNew, Level: Note, Subject: p.UID, Text: fmt.Sprintf("%q is new and starts empty", p.UID)})
		}
	}
}

// moved judges a store that is in another stage than before: a key must be on
// the same partition there.
func (j *judge) moved(s *Store, p PlanStore) {
	was := j.stage(s.Stage)
	now, ok := j.planStage(p.Stage)
	if !ok {
		return // the plan is incomplete; it cannot come from topology
	}
	if n := j.stagePartitions(now); n != 0 && n != was.Partitions && (s.Stage != p.Stage || len(now.Sources) == 0) {
		j.add(Line{Rule: RuleStagePartitions, Level: Refuse, Subject: s.UID, Count: s.Entries(),
			Text: fmt.Sprintf("%q has %d partitions in the savepoint and %d in the job", s.UID, was.Partitions, n),
			Hint: fmt.Sprintf("state cannot be split: give stage %s %d partitions", now.ID, was.Partitions)})
	}
	if was.Partitioner != now.Partitioner {
		j.add(Line{Rule: RulePartitioner, Level: Refuse, Subject: s.UID, Count: s.Entries(),
			Text: fmt.Sprintf("keys of %q were put on partitions by %s and would be looked for by %s", s.UID, was.Partitioner, now.Partitioner),
			Hint: fmt.Sprintf("set input.partitioner: %s", was.Partitioner)})
	} else if s.Stage != p.Stage {
		level := Note
		if was.Partitioner == topology.Any {
			level = Warn
		}
		j.add(Line{Rule: RuleStoreMoved, Level: level, Subject: s.UID, Count: s.Entries(),
			Text: fmt.Sprintf("%q moves from stage %s to %s with its state; its keys must be the same ones there", s.UID, s.Stage, p.Stage)})
	}
}

// stagePartitions is how many partitions a stage of the job will have, 0 where
// that is not known.
func (j *judge) stagePartitions(s PlanStage) int32 {
	n := s.Partitions
	for _, topic := range s.Sources {
		n = max(n, j.o.Topics[topic].Partitions)
	}
	return n
}

// schemas judges whether rows of every version that is present can be read
// (P18). A version without rows cannot do harm, except the current one, which a
// process may have been about to write.
func (j *judge) schemas(s *Store, p PlanStore) {
	for _, v := range s.Versions {
		if v.Rows == 0 && v.Version != s.Current {
			continue
		}
		switch err := resolves(v.Schema, p.Schema); {
		case err != nil:
			j.add(Line{Rule: RuleSchema, Level: Refuse, Subject: s.UID, Count: v.Rows,
				Text: fmt.Sprintf("state of %q, version %d, %s, cannot be read as the job's type: %v", s.UID, v.Version, count(v.Rows, "row"), err),
				Hint: "change the type so that Avro resolves it (new fields need a default, types only widen), or give the step another uid and drop this state"})
		case !sameSchema(v.Schema, p.Schema):
			l := Line{Rule: RuleSchemaChanged, Level: Note, Subject: s.UID, Count: v.Rows,
				Text: fmt.Sprintf("state of %q, version %d, %s, is read as the job's new type", s.UID, v.Version, count(v.Rows, "row"))}
			if lost := lostFields(v.Schema, p.Schema); len(lost) > 0 {
				l.Level = Warn
				l.Text += ", which does not have " + list(lost)
			}
			j.add(l)
		}
	}
}

// swaps looks for two stores that have exchanged their uids. Where they have
// exchanged their types they have: rows of records resolve without a field in
// common. Where the types are the same and only the places have changed, nothing
// else can tell.
func (j *judge) swaps() {
	for i := range j.m.Stores {
		for k := i + 1; k < len(j.m.Stores); k++ {
			a, b := &j.m.Stores[i], &j.m.Stores[k]
			l := Line{Rule: RuleStoreSwapped, Subject: a.UID, Count: a.Entries() + b.Entries()}
			switch {
			case j.exchanged(a, b):
				l.Level = Refuse
				l.Text = fmt.Sprintf("%q and %q have exchanged their state types: each would read the rows of the other", a.UID, b.UID)
				l.Hint = "give the two steps their uids back; if that is what they are to be, give them new uids and drop the state of both"
			case j.swapped(a, b):
				l.Level = Warn
				l.Text = fmt.Sprintf("%q and %q have changed places and have the same state type; make sure that their uids were not exchanged", a.UID, b.UID)
			default:
				continue
			}
			j.add(l)
		}
	}
}

// exchanged says that each of two stores has the type that the other one had.
func (j *judge) exchanged(a, b *Store) bool {
	nowA, hasA := j.planStore(a.UID)
	nowB, hasB := j.planStore(b.UID)
	wasA, _ := a.Schema(a.Current)
	wasB, _ := b.Schema(b.Current)
	return hasA && hasB && !sameSchema(wasA, wasB) && sameSchema(wasA, nowB.Schema) && sameSchema(wasB, nowA.Schema)
}

func (j *judge) swapped(a, b *Store) bool {
	indexA := slices.IndexFunc(j.plan.Stores, func(s PlanStore) bool { return s.UID == a.UID })
	indexB := slices.IndexFunc(j.plan.Stores, func(s PlanStore) bool { return s.UID == b.UID })
	if indexA < 0 || indexB < 0 || indexA < indexB || a.KeyType != b.KeyType {
		return false
	}
	schemaA, _ := a.Schema(a.Current)
	schemaB, _ := b.Schema(b.Current)
	return sameSchema(schemaA, schemaB)
}

// count writes a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// list writes names as people do: "a", "b" and "c".
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " and " + quoted[len(quoted)-1]
}
