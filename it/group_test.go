package it

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/procd/procd/internal/kafkatest"
)

// describe is the job's group as the broker has it.
func (j *job) describe() (kadm.DescribedGroup, error) {
	ctx, cancel := context.WithTimeout(j.t.Context(), 10*time.Second)
	defer cancel()
	groups, err := j.kafka.Admin.DescribeGroups(ctx, j.group())
	if err != nil {
		return kadm.DescribedGroup{}, err
	}
	return groups[j.group()], groups[j.group()].Err
}

// wantSeats is nil if the members of a stable group belong to that many seats.
func (j *job) wantSeats(processes int) error {
	group, err := j.describe()
	if err != nil {
		return err
	}
	seats := map[string]bool{}
	for _, m := range group.Members {
		seats[j.seat(m)] = true
	}
	if group.State != "Stable" || len(seats) != processes {
		return fmt.Errorf("group is %s with %d processes, waiting for %d", group.State, len(seats), processes)
	}
	return nil
}

// seat is the seat of a member, empty if it has none.
func (j *job) seat(m kadm.DescribedGroupMember) string {
	if m.InstanceID == nil {
		return ""
	}
	seat := strings.TrimPrefix(*m.InstanceID, j.group()+".")
	return seat[:max(0, strings.LastIndexByte(seat, '.'))]
}

// waitMembers waits until the workers of that many processes are the group.
func (j *job) waitMembers(processes int) {
	j.t.Helper()
	j.eventually(time.Minute, func() error { return j.wantSeats(processes) })
}

// saidRunning is what a process logs of itself before its workers join.
var saidRunning = regexp.MustCompile(`msg=running .*seat=(\w+) workers=(\d+)`)

// waitArrived waits until all workers of all processes that run, and of others
// that were not begun by start, are in the group:
// a stop at a savepoint refuses who comes later, and one that somebody's coming
// interrupts late ends with a savepoint, and the words to ask for another one.
func (j *job) waitArrived(others ...*kafkatest.Process) {
	j.t.Helper()
	procs := append(slices.Clip(j.procs), others...)
	j.eventually(time.Minute, func() error {
		group, err := j.describe()
		if err != nil {
			return err
		}
		here := map[string]int{}
		for _, m := range group.Members {
			here[j.seat(m)]++
		}
		for i, p := range procs {
			if !p.Running() || p.Paused() {
				continue
			}
			said := saidRunning.FindStringSubmatch(p.Stderr.String())
			if said == nil {
				return fmt.Errorf("process %d does not run yet", i)
			}
			if workers, err := strconv.Atoi(said[2]); err != nil || here[said[1]] != workers {
				return fmt.Errorf("%d of %s workers of process %d are in the group", here[said[1]], said[2], i)
			}
		}
		if group.State != "Stable" {
			return fmt.Errorf("group is %s", group.State)
		}
		return nil
	})
}

// waitWorkers waits until all workers of that many processes are in the group,
// and nobody is on its way.
func (j *job) waitWorkers(processes int) {
	j.t.Helper()
	want := processes * min(runtime.GOMAXPROCS(0), int(j.Partitions)) // a worker per core, at most one per task
	j.eventually(time.Minute, func() error {
		group, err := j.describe()
		if err != nil {
			return err
		}
		if group.State != "Stable" || len(group.Members) != want {
			return fmt.Errorf("group is %s with %d members, waiting for %d", group.State, len(group.Members), want)
		}
		return nil
	})
}

// waitAssigned waits until every input partition is assigned once, and evenly
// to that many processes.
func (j *job) waitAssigned(processes int) {
	j.t.Helper()
	j.eventually(time.Minute, func() error {
		group, err := j.describe()
		if err != nil {
			return err
		}
		total, seats := 0, map[string]int{}
		for _, m := range group.Members {
			assigned, ok := m.Assigned.AsConsumer()
			if !ok {
				return fmt.Errorf("member %s has no standard assignment (O9)", m.MemberID)
			}
			for _, topic := range assigned.Topics {
				if topic.Topic == j.In {
					seats[j.seat(m)] += len(topic.Partitions)
					total += len(topic.Partitions)
				}
			}
		}
		least := int(j.Partitions) / processes
		for seat, n := range seats {
			if n < least {
				return fmt.Errorf("seat %s has %d partitions, not %d", seat, n, least)
			}
		}
		if total != int(j.Partitions) || len(seats) != processes {
			return fmt.Errorf("%d of %d partitions assigned to %d processes, waiting for %d", total, j.Partitions, len(seats), processes)
		}
		return nil
	})
}

// waitEveryPartition waits until the committed offset of every input partition
// has passed where the partition ends now. The input must go on.
func (j *job) waitEveryPartition(d time.Duration) (took time.Duration) {
	j.t.Helper()
	start := time.Now()
	var ends kadm.ListedOffsets
	j.eventually(d, func() (err error) {
		ends, err = j.kafka.Admin.ListEndOffsets(j.t.Context(), j.In)
		return errors.Join(err, ends.Error())
	})
	j.eventually(d, func() error {
		at, err := j.committedAt()
		if err != nil {
			return err
		}
		for p, end := range ends[j.In] {
			// At least one: a feed that has just begun proves nothing.
			if want := max(end.Offset, 1); at[p] < want {
				return fmt.Errorf("partition %d is at %d, not yet at %d", p, at[p], want)
			}
		}
		return nil
	})
	return time.Since(start)
}

// committedAt are the committed offsets of the input as of now: not those that
// are stable, so that no neighbour's open transaction delays the answer.
func (j *job) committedAt() (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(j.t.Context(), 10*time.Second)
	defer cancel()
	offsets, err := j.kafka.Admin.FetchOffsets(ctx, j.group())
	if err != nil {
		return nil, err
	}
	at := map[int32]int64{}
	for p, o := range offsets[j.In] {
		at[p] = o.At
	}
	return at, nil
}

// assignedTo are the input partitions that a seat has.
func (j *job) assignedTo(seat string) (partitions []int32) {
	j.t.Helper()
	group, err := j.describe()
	must(j.t, err)
	for _, m := range group.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok || j.seat(m) != seat {
			continue
		}
		for _, topic := range assigned.Topics {
			if topic.Topic == j.In {
				partitions = append(partitions, topic.Partitions...)
			}
		}
	}
	if len(partitions) == 0 {
		j.t.Fatalf("seat %q has no partition", seat)
	}
	return partitions
}

// identity is what the first seat of a data directory is called in ids (P3).
func (j *job) identity(data string) string {
	j.t.Helper()
	text, err := os.ReadFile(filepath.Join(data, j.Name, "seat-0", "identity"))
	must(j.t, err)
	return strings.TrimSpace(string(text))
}
