package topology

import (
	"slices"

	"github.com/procd/procd/kstate"
)

// Progress is how far a task has come, beside the offsets of its inputs. It is
// part of its position record.
type Progress struct {
	// Frontiers are, per source partition, how far this task has consumed: the
	// offset after the last record that reached it, through any number of
	// stages (P10).
	Frontiers []kstate.SourceOffset
	// Watermarks are those of the task's source inputs that have brought
	// something. Inputs behind a KeyBy have none of their own.
	Watermarks []Watermark
}

// Watermark is the event time, epoch milliseconds, before which an input
// partition is expected to bring nothing more: the newest seen minus the
// allowed disorder. It never goes back.
type Watermark struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Time      int64  `json:"time"`
}

// position is the task's progress in this transaction, and after the last one.
type position struct {
	now, committed Progress
	last           int // the frontier that the last record moved
}

// init adds a watermark, not known yet, for each source input.
func (p *position) init(inputs []taskInput, partition int32) {
	for i := range inputs {
		if in := &inputs[i]; in.Source != nil {
			in.watermark = len(p.now.Watermarks)
			p.now.Watermarks = append(p.now.Watermarks, Watermark{Topic: in.topic, Partition: partition, Time: noWatermark})
		}
	}
	p.commit()
}

// noWatermark is the time of a watermark before the first record.
const noWatermark = -1 << 63

// seen moves the watermark of a record's input.
func (p *position) seen(in *taskInput, time int64) {
	if in.Source == nil {
		return
	}
	w := &p.now.Watermarks[in.watermark]
	if time > noWatermark+in.outOfOrder {
		w.Time = max(w.Time, time-in.outOfOrder)
	}
}

// consumed moves the frontier of the partition that the record came from.
func (p *position) consumed(m *Meta) {
	f := p.frontier(m.Topic, m.Partition)
	f.Offset = max(f.Offset, m.Offset+1)
}

// frontier finds or makes a source partition's frontier. Records come in runs
// of one partition, so the last one is tried first.
func (p *position) frontier(topic string, partition int32) *kstate.SourceOffset {
	fs := p.now.Frontiers
	if p.last < len(fs) && fs[p.last].Partition == partition && fs[p.last].Topic == topic {
		return &fs[p.last]
	}
	for i := range fs {
		if fs[i].Partition == partition && fs[i].Topic == topic {
			p.last = i
			return &fs[i]
		}
	}
	p.last = len(fs)
	p.now.Frontiers = append(fs, kstate.SourceOffset{Topic: topic, Partition: partition})
	return &p.now.Frontiers[p.last]
}

// topicName is a source topic's name as a string, without making a new one for
// each record.
func (p *position) topicName(name []byte) string {
	fs := p.now.Frontiers
	if p.last < len(fs) && fs[p.last].Topic == string(name) {
		return fs[p.last].Topic
	}
	for i := range fs {
		if fs[i].Topic == string(name) {
			return fs[i].Topic
		}
	}
	return string(name)
}

func (p *position) commit() { p.committed.set(p.now) }
func (p *position) abort()  { p.now.set(p.committed); p.last = 0 }

// set makes p a copy of from, in the memory that p has.
func (p *Progress) set(from Progress) {
	p.Frontiers = append(p.Frontiers[:0], from.Frontiers...)
	p.Watermarks = append(p.Watermarks[:0], from.Watermarks...)
}

// Progress is how far the task has come, with this transaction. It is the
// caller's.
func (t *Task) Progress() Progress {
	var p Progress
	p.set(t.position.now)
	p.Watermarks = slices.DeleteFunc(p.Watermarks, func(w Watermark) bool { return w.Time == noWatermark })
	return p
}

// SetProgress sets what a position record says, before the first record.
// Watermarks of inputs that the stage does not have are left out.
func (t *Task) SetProgress(from Progress) {
	p := &t.position
	p.now.Frontiers = append(p.now.Frontiers[:0], from.Frontiers...)
	for _, w := range from.Watermarks {
		for i := range p.now.Watermarks {
			if have := &p.now.Watermarks[i]; have.Topic == w.Topic && have.Partition == w.Partition {
				have.Time = w.Time
			}
		}
	}
	p.last = 0
	p.commit()
}
