package it

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/procd/procd/internal/kafkatest"
)

// run is what the tests of one run of this package share.
var run = struct {
	dir    string
	id     string // in the names of topics and jobs: a Kafka outlives a run
	seed   uint64
	kafka  func() (*kafka, error)
	binary func(pkg string) (*kafkatest.Binary, error)
	closes []func() error
}{}

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "procd-it-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	run.dir = dir
	run.id = strconv.FormatInt(time.Now().Unix()%1e6, 36)
	run.seed = seed()
	run.kafka = sync.OnceValues(openShared)
	run.binary = buildOnce()
	code = m.Run()
	for _, closing := range append(run.closes, func() error { return os.RemoveAll(dir) }) {
		if err := closing(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

func seed() uint64 {
	if text := os.Getenv("PROCD_IT_SEED"); text != "" {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	return uint64(time.Now().UnixNano())
}

// kafka is a Kafka that tests use, and where procd connects to.
type kafka struct {
	*kafkatest.Cluster
	broker  *kafkatest.Broker // nil if it is not ours to break
	address string            // for procd: behind the proxy, if there is one
}

func openShared() (*kafka, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	brokers, stop, err := kafkatest.Open(ctx)
	if err != nil {
		return nil, err
	}
	run.closes = append(run.closes, stop)
	cluster, err := kafkatest.Connect(brokers...)
	if err != nil {
		return nil, err
	}
	return &kafka{Cluster: cluster, address: brokers[0]}, nil
}

// sharedKafka is for tests that leave the broker alone.
func sharedKafka(t *testing.T) *kafka {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kafka")
	}
	k, err := run.kafka()
	unavailable(t, err)
	return k
}

// ownKafka starts a broker for this test only.
func ownKafka(t *testing.T, o kafkatest.BrokerOptions) *kafka {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kafka")
	}
	broker, err := kafkatest.StartBroker(t.Context(), o)
	unavailable(t, err)
	t.Cleanup(func() {
		if err := broker.Stop(); err != nil {
			t.Error(err)
		}
	})
	cluster, err := kafkatest.Connect(broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	k := &kafka{Cluster: cluster, broker: broker, address: broker.Addr()}
	if o.Proxied {
		k.address = broker.Proxy().Addr()
	}
	return k
}

func unavailable(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, kafkatest.ErrUnavailable) && os.Getenv("PROCD_IT") != "require" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// module is the path of this module's packages.
const module = "github.com/procd/procd/"

// buildOnce returns a function that compiles each main package on first use.
func buildOnce() func(pkg string) (*kafkatest.Binary, error) {
	var mu sync.Mutex
	built := map[string]*kafkatest.Binary{}
	return func(pkg string) (*kafkatest.Binary, error) {
		mu.Lock()
		defer mu.Unlock()
		if b := built[pkg]; b != nil {
			return b, nil
		}
		dir := filepath.Join(run.dir, strconv.Itoa(len(built)))
		b, err := kafkatest.Build(context.Background(), dir, module+pkg)
		if err == nil {
			built[pkg] = b
		}
		return b, err
	}
}

// program is the binary of a main package.
func program(t *testing.T, pkg string) *kafkatest.Binary {
	t.Helper()
	if path := os.Getenv("PROCD_IT_BINARY"); path != "" && pkg == procdProgram {
		return kafkatest.Existing(path)
	}
	b, err := run.binary(pkg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// soak is how long a test of random faults goes on.
func soak(usual, long time.Duration) time.Duration {
	if os.Getenv("PROCD_IT_LONG") != "" {
		return long
	}
	return usual
}

// within bounds what a test waits for.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until check returns nil.
func eventually(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	if err := kafkatest.Until(within(t, d), 20*time.Millisecond, check); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// runCommand runs a program of the system.
func runCommand(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
