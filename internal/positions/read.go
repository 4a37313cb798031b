package positions

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/logread"
)

// window is how far before the end of a partition the search for a task's
// record starts; what follows is [growth] times as long, and so on until the
// record is found (P8). A commit takes two offsets, so a task that is at work is
// found in the first, which 200 partitions need not read much for.
const (
	window = 200
	growth = 4
)

// Topic is a positions topic.
type Topic struct {
	Name    string
	Options []kgo.Opt // of a client of the cluster
	// Stalled is called when an open transaction may be in the way of reading;
	// see [logread.Read].
	Stalled func(context.Context) error
}

// Bounds are the log start and the high watermark of a partition.
type Bounds struct{ Start, End int64 }

// Read finds the newest record of each task, committed transactions only; a
// task without one is not in the result. bounds are those of the tasks'
// partitions. All partitions are read at once, from their ends backwards, and
// nothing is read twice.
func (t Topic) Read(ctx context.Context, bounds map[int32]Bounds, tasks []Task) (map[Task]Record, error) {
	searches := t.searches(bounds, tasks)
	values := make(map[Task][]byte, len(tasks))
	for size := int64(window); ; size *= growth {
		var parts []*logread.Part
		for _, s := range searches {
			if part := s.next(size, values); part != nil {
				parts = append(parts, part)
			}
		}
		if len(parts) == 0 {
			return decodeAll(values)
		}
		if err := logread.Read(ctx, t.Options, t.Stalled, parts...); err != nil {
			return nil, err
		}
	}
}

func decodeAll(values map[Task][]byte) (map[Task]Record, error) {
	records := make(map[Task]Record, len(values))
	for task, value := range values {
		r, err := Decode(value)
		if err != nil {
			return nil, err
		}
		records[task] = r
	}
	return records, nil
}

// search is the search in one partition, for the tasks that have its number.
type search struct {
	topic     string
	partition int32
	start     int64 // of the log
	end       int64 // what lies behind it was searched
	tasks     map[string]Task
}

func (t Topic) searches(bounds map[int32]Bounds, tasks []Task) map[int32]*search {
	all := map[int32]*search{}
	for _, task := range tasks {
		s := all[task.Partition]
		if s == nil {
			b := bounds[task.Partition]
			s = &search{topic: t.Name, partition: task.Partition, start: b.Start, end: b.End, tasks: map[string]Task{}}
			all[task.Partition] = s
		}
		s.tasks[string(task.Key())] = task
	}
	return all
}

// next is the part of the log to be read now, nil if all is found or nothing
// is left.
func (s *search) next(size int64, found map[Task][]byte) *logread.Part {
	wanted := map[string]Task{}
	for key, task := range s.tasks {
		if _, ok := found[task]; !ok {
			wanted[key] = task
		}
	}
	if len(wanted) == 0 || s.end <= s.start {
		return nil
	}
	from := max(s.start, s.end-size)
	part := &logread.Part{Topic: s.topic, Partition: s.partition, From: from, To: s.end}
	part.Apply = func(r *kgo.Record) error {
		if task, ok := wanted[string(r.Key)]; ok {
			found[task] = append(found[task][:0], r.Value...)
		}
		return nil
	}
	s.end = from
	return part
}
