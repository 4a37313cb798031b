// Package bare is the ceiling that procd is compared with: the jobs of the
// benchmark as loops over franz-go, written for them alone. It has the client
// settings, the transactions, the changelog and the write-behind to Pebble that
// procd has, and procd's JSON decoder. It has no API, no state types, no bad
// records, and it does not survive: a rebalance or an error ends it.
package bare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/codec"
)

// Options say what to run.
type Options struct {
	Brokers string
	Kind    string // copy, count, alarm, two-stages
	Group   string // also the transactional id, and the prefix of internal topics
	In, Out string
	Dir     string // of the state
	Commit  time.Duration
}

// Changelog and Repartition are the internal topics of a group. They must exist
// and have the partitions of the input.
func Changelog(group string) string   { return group + "-changelog" }
func Repartition(group string) string { return group + "-repartition" }

const (
	writeEvery  = 3 * time.Second // how long a state may be in memory only
	maxPoll     = 20_000
	arenaBytes  = 1 << 20
	userLen     = 8    // bytes at the start of a value that name the user
	exitDelay   = 5000 // milliseconds in which an alarm does not ring yet
	partitions  = 4
	memTable    = 16 << 20
	cacheBytes  = 128 << 20
	overhead    = 200
	maxRecord   = 1 << 20
	maxBuffered = 1 << 20
)

// Run runs until ctx ends.
func Run(ctx context.Context, o Options) error {
	l := &loop{o: o, changelog: Changelog(o.Group), repartition: Repartition(o.Group)}
	topics := []string{o.In}
	switch o.Kind {
	case "copy":
		l.handle = l.copy
	case "count":
		l.handle = l.count
	case "alarm":
		l.handle, l.json = l.alarm, codec.JSON[event]().(codec.PerTask[event]).ForTask()
	case "two-stages":
		l.handle = l.twoStages
		topics = append(topics, l.repartition)
	default:
		return fmt.Errorf("no job %q", o.Kind)
	}
	sess, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(o.Brokers),
		kgo.TransactionalID(o.Group),
		kgo.TransactionTimeout(15*time.Second),
		kgo.ConsumerGroup(o.Group),
		kgo.ConsumeTopics(topics...),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // or the end of the repartition topic is never committed
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.FetchMaxBytes(32<<20),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.ProducerBatchMaxBytes(maxRecord+overhead),
		kgo.MaxBufferedRecords(maxBuffered),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(l.partitioner)),
	)
	if err != nil {
		return err
	}
	defer sess.Close()
	l.sess, l.cl = sess, sess.Client()
	if o.Kind != "copy" {
		if err := l.openState(); err != nil {
			return err
		}
		defer l.closeState()
	}
	if err := l.run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// loop is one client and the state of all its partitions.
type loop struct {
	o                      Options
	changelog, repartition string
	sess                   *kgo.GroupTransactSession
	cl                     *kgo.Client
	handle                 func(*kgo.Record) error
	json                   codec.Codec[event]
	ev                     event

	states   [partitions]map[string]*entry
	dirty    []*entry // in this transaction
	unsaved  []*entry // not in Pebble
	dbs      [partitions]*pebble.DB
	lastSave time.Time

	pool    []*kgo.Record // reused once their transaction has ended
	used    int
	arena   []byte // of the values written in this transaction
	arenas  [][]byte
	arenaAt int
	since   time.Time
	open    bool
}

// entry is the state of one key.
type entry struct {
	key       string
	partition int32
	dirty     bool
	unsaved   bool
	n         int64 // a count; of an alarm, since when
	active    bool
}

type event struct {
	Type string `json:"type"`
	Room int    `json:"room"`
	Time int64  `json:"time"`
}

func (l *loop) partitioner(topic string) func(*kgo.Record, int) int {
	if topic == l.changelog {
		return func(r *kgo.Record, _ int) int { return int(r.Partition) }
	}
	byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	return func(r *kgo.Record, n int) int { return byKey.Partition(r, n) }
}

func (l *loop) openState() error {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	for p := range l.dbs {
		db, err := pebble.Open(filepath.Join(l.o.Dir, fmt.Sprint(p)), &pebble.Options{
			Cache: cache, DisableWAL: true, MemTableSize: memTable, MemTableStopWritesThreshold: 4, Logger: silent{},
		})
		if err != nil {
			return err
		}
		l.dbs[p], l.states[p] = db, map[string]*entry{}
	}
	l.lastSave = time.Now()
	return nil
}

// silent is a Pebble logger that says nothing but the worst.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (l *loop) closeState() {
	for _, db := range l.dbs {
		db.Close()
	}
}

func (l *loop) run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := time.Second
		if l.open {
			wait = max(l.o.Commit-time.Since(l.since), time.Millisecond)
		}
		pctx, cancel := context.WithTimeout(ctx, wait)
		fetches := l.sess.PollRecords(pctx, maxPoll)
		cancel()
		var err error
		fetches.EachError(func(_ string, _ int32, e error) {
			if !errors.Is(e, context.DeadlineExceeded) {
				err = e
			}
		})
		if err == nil {
			err = l.process(fetches)
		}
		if err == nil && l.open && time.Since(l.since) >= l.o.Commit {
			err = l.commit()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) process(fetches kgo.Fetches) error {
	for i := range fetches {
		for j := range fetches[i].Topics {
			topic := &fetches[i].Topics[j]
			for k := range topic.Partitions {
				for _, r := range topic.Partitions[k].Records {
					if !l.open {
						if err := l.sess.Begin(); err != nil {
							return err
						}
						l.open, l.since = true, time.Now()
					}
					if r.Attrs.IsControl() {
						continue
					}
					if err := l.handle(r); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (l *loop) commit() error {
	for _, e := range l.dirty {
		r := l.record()
		r.Topic, r.Partition, r.Key, r.Value, r.Timestamp = l.changelog, e.partition, []byte(e.key), l.alloc(e.encode), l.since
		l.cl.Produce(context.Background(), r, promise)
		e.dirty = false
		if !e.unsaved {
			e.unsaved = true
			l.unsaved = append(l.unsaved, e)
		}
	}
	l.dirty = l.dirty[:0]
	committed, err := l.sess.End(context.Background(), kgo.TryCommit)
	if err == nil && !committed {
		err = errors.New("a transaction was aborted")
	}
	if err != nil {
		return err
	}
	l.open, l.used, l.arenaAt, l.arena = false, 0, 0, nil
	if len(l.unsaved) > 0 && time.Since(l.lastSave) >= writeEvery {
		return l.save()
	}
	return nil
}

// promise ends the program when a record is refused.
func promise(_ *kgo.Record, err error) {
	if err != nil {
		panic(err)
	}
}

// save writes what changed since the last time, sorted.
func (l *loop) save() error {
	slices.SortFunc(l.unsaved, func(a, b *entry) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	var value []byte
	var batch *pebble.Batch
	at := int32(-1)
	for _, e := range l.unsaved {
		if e.partition != at {
			if batch != nil {
				if err := batch.Commit(pebble.NoSync); err != nil {
					return err
				}
			}
			at = e.partition
			batch = l.dbs[at].NewBatch()
		}
		value = e.encode(value[:0])
		if err := batch.Set([]byte(e.key), value, nil); err != nil {
			return err
		}
		e.unsaved = false
	}
	l.unsaved, l.lastSave = l.unsaved[:0], time.Now()
	return batch.Commit(pebble.NoSync)
}

// encode is the state's changelog record: a schema version, then the fields.
func (e *entry) encode(dst []byte) []byte {
	dst = append(dst, 1, 0)
	if e.active {
		dst[len(dst)-1] = 1
	}
	return binary.AppendVarint(dst, e.n)
}

// state is the entry of a record's key, which need not have been there.
func (l *loop) state(r *kgo.Record) *entry {
	m := l.states[r.Partition]
	e := m[string(r.Key)]
	if e == nil {
		e = &entry{key: string(r.Key), partition: r.Partition}
		m[e.key] = e
	}
	return e
}

func (l *loop) changed(e *entry) {
	if !e.dirty {
		e.dirty = true
		l.dirty = append(l.dirty, e)
	}
}

func (l *loop) record() *kgo.Record {
	if l.used == len(l.pool) {
		l.pool = append(l.pool, new(kgo.Record))
	}
	r := l.pool[l.used]
	l.used++
	*r = kgo.Record{}
	return r
}

// alloc lets append write to memory that is reused after the transaction.
func (l *loop) alloc(append func([]byte) []byte) []byte {
	if cap(l.arena)-len(l.arena) < 256 {
		if l.arenaAt == len(l.arenas) {
			l.arenas = slices.Grow(l.arenas, 1)[:l.arenaAt+1]
			l.arenas[l.arenaAt] = make([]byte, 0, arenaBytes)
		}
		l.arena = l.arenas[l.arenaAt][:0]
		l.arenaAt++
	}
	at := len(l.arena)
	l.arena = append(l.arena)
	return l.arena[at:len(l.arena):len(l.arena)]
}

func (l *loop) emit(in *kgo.Record, topic string, key, value []byte) {
	r := l.record()
	r.Topic, r.Key, r.Value, r.Timestamp = topic, key, value, in.Timestamp
	l.cl.Produce(context.Background(), r, promise)
}

func (l *loop) copy(r *kgo.Record) error {
	l.emit(r, l.o.Out, r.Key, r.Value)
	return nil
}

func (l *loop) count(r *kgo.Record) error {
	e := l.state(r)
	e.n++
	l.changed(e)
	l.emit(r, l.o.Out, r.Key, l.alloc(func(dst []byte) []byte { return binary.BigEndian.AppendUint64(dst, uint64(e.n)) }))
	return nil
}

func (l *loop) twoStages(r *kgo.Record) error {
	if r.Topic == l.repartition {
		return l.count(r)
	}
	l.emit(r, l.repartition, r.Value[:userLen], r.Value)
	return nil
}

func (l *loop) alarm(r *kgo.Record) error {
	if err := l.json.Decode(r.Value, &l.ev); err != nil {
		return err
	}
	ev := &l.ev
	switch ev.Type {
	case "activate", "deactivate":
		e := l.state(r)
		e.active, e.n = ev.Type == "activate", ev.Time
		l.changed(e)
	case "motion":
		if e := l.state(r); e.active && ev.Time-e.n > exitDelay {
			var err error
			out := event{"ALARM", ev.Room, ev.Time}
			value := l.alloc(func(dst []byte) []byte {
				dst, err = l.json.Append(dst, &out)
				return dst
			})
			if err != nil {
				return err
			}
			l.emit(r, l.o.Out, r.Key, value)
		}
	}
	return nil
}
