// Command bench measures procd on a real Kafka, both on this machine, and
// checks every output it measured. bench/README.md says how to read it.
//
//	go run ./bench [-records N] [-runs N] [-only alarm,count] [-brokers HOST:PORT]
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd"
	"github.com/procd/procd/internal/kafkatest"
)

// engineArg makes this program the engine of one workload: the commands of a
// procd binary follow.
const engineArg = "engine"

const partitions = 4

func main() {
	if len(os.Args) > 4 && os.Args[1] == engineArg {
		w, err := findWorkload(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		topic := os.Args[3]
		os.Args = append(os.Args[:1], os.Args[4:]...)
		procd.Main(w.job(topic, topic+"-out"))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	records := flag.Int("records", 5_000_000, "records per run")
	runs := flag.Int("runs", 3, "runs per workload; the median counts")
	only := flag.String("only", "", "workloads to run, separated by commas")
	brokers := flag.String("brokers", "", "use these brokers instead of starting one")
	flag.Parse()
	addrs := strings.Split(*brokers, ",")
	if *brokers == "" {
		b, err := kafkatest.StartBroker(ctx, kafkatest.BrokerOptions{})
		if err != nil {
			return err
		}
		defer b.Stop()
		addrs = []string{b.Addr()}
	}
	c, err := kafkatest.Connect(addrs...)
	if err != nil {
		return err
	}
	defer c.Close()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "workload\trecords\trec/s\tmin..max\tCPU s/M\tpeak RSS\toutput")
	for _, w := range workloads {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), w.name) {
			continue
		}
		b := &bench{w: w, c: c, records: *records}
		if err := b.preload(ctx); err != nil {
			return err
		}
		var results []result
		for range *runs {
			r, err := b.measure(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Fprintf(os.Stderr, "%s: %.0f rec/s, %.2f CPU s/M, %d MB\n", w.name, r.rate, r.cpu, r.rss>>20)
			results = append(results, r)
		}
		slices.SortFunc(results, func(a, b result) int { return cmp.Compare(a.rate, b.rate) })
		m := results[len(results)/2]
		fmt.Fprintf(table, "%s\t%d\t%.0f k\t%.0f..%.0f k\t%.2f\t%d MB\tverified\n", w.name, *records,
			m.rate/1e3, results[0].rate/1e3, results[len(results)-1].rate/1e3, m.cpu, m.rss>>20)
	}
	return table.Flush()
}

// bench is one workload on one cluster.
type bench struct {
	w       workload
	c       *kafkatest.Cluster
	records int
	topic   string
}

// result is one run.
type result struct {
	rate float64 // records per second, from the engine's start to its last commit
	cpu  float64 // CPU seconds of the engine's process per million records
	rss  int64   // peak resident bytes of the engine's process
}

// preload writes the input.
func (b *bench) preload(ctx context.Context) error {
	b.topic = fmt.Sprintf("bench-%s-%d", b.w.name, time.Now().UnixNano())
	if err := b.c.CreateTopic(ctx, b.topic, partitions, nil); err != nil {
		return err
	}
	const batch = 50_000
	records := make([]*kgo.Record, 0, batch)
	for i := 0; i < b.records; {
		records = records[:0]
		for ; i < b.records && len(records) < batch; i++ {
			key, value := b.w.record(i)
			records = append(records, &kgo.Record{Topic: b.topic, Key: key, Value: value})
		}
		if err := b.c.Produce(ctx, records...); err != nil {
			return err
		}
	}
	return nil
}

// measure runs the engine over the input once, with a fresh job, and checks
// what it wrote.
func (b *bench) measure(ctx context.Context) (result, error) {
	out := b.topic + "-out"
	if err := b.c.CreateTopic(ctx, out, partitions, nil); err != nil {
		return result{}, err
	}
	defer b.clean(out)
	dir, err := os.MkdirTemp("", "procd-bench")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	cmd := exec.Command(self, engineArg, b.w.name, b.topic, "start", "--brokers", b.c.Brokers[0], "--data", dir, "--admin", "off")
	cmd.Stderr = os.Stderr
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	waited := b.drained(ctx)
	took := time.Since(started)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		return result{}, err
	}
	if err := cmd.Wait(); err != nil {
		return result{}, fmt.Errorf("the engine: %w", err)
	}
	if waited != nil {
		return result{}, waited
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r := result{
		rate: float64(b.records) / took.Seconds(),
		cpu:  cpu.Seconds() / float64(b.records) * 1e6,
		rss:  usage.Maxrss << 10, // Linux counts in KiB
	}
	return r, b.verify(ctx, out)
}

// drained waits until the group has committed the end of the input.
func (b *bench) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return kafkatest.Until(ctx, 20*time.Millisecond, func() error {
		return b.c.NoLag(ctx, "procd.bench-"+b.w.name, b.topic)
	})
}

// verify reads the whole output, committed only, and compares it with the model.
func (b *bench) verify(ctx context.Context, out string) error {
	wantN, wantSum := b.w.model(b.records)
	ends, err := b.c.Admin.ListCommittedOffsets(ctx, out)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.c.Brokers...), kgo.ConsumeTopics(out), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	n, sum := 0, uint64(0)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 && ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		var bad error
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if r.Attrs.IsControl() {
				return
			}
			weight, err := b.w.weigh(r.Value)
			bad = cmp.Or(bad, err)
			n++
			sum += weight
		})
		if bad != nil {
			return bad
		}
	}
	if n != wantN || sum != wantSum {
		return fmt.Errorf("void: %d outputs with sum %d, the model says %d with sum %d", n, sum, wantN, wantSum)
	}
	return ctx.Err()
}

// clean removes what a run leaves in Kafka, so that the next one starts anew.
func (b *bench) clean(out string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	job := "procd.bench-" + b.w.name
	topics, err := b.c.TopicsOf(ctx, job+".")
	if err == nil {
		_, err = b.c.Admin.DeleteTopics(ctx, append(topics, out)...)
	}
	if err == nil {
		_, err = b.c.Admin.DeleteGroups(ctx, job)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: cleaning up:", err)
	}
}
