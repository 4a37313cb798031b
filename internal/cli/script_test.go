package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/codec"
	"github.com/procd/procd/internal/cli"
	"github.com/procd/procd/internal/embedded"
	"github.com/procd/procd/topology"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"procd":  func() { os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Standard(), nil)) },
		"go-job": func() { os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Standard(), goJob())) },
	})
}

// goJob is a job as a user's binary has it.
func goJob() *topology.Job {
	type event struct {
		Room int `json:"room"`
	}
	job := topology.New("rooms")
	events := topology.From(job, "events", codec.JSON[event](), topology.PartitionedBy(func(e event) int { return e.Room }))
	topology.To(events, "seen", codec.JSON[event]())
	return job
}

// TestScripts runs testdata/*.txt: each is the manners of one command. The
// commands of the scripts that testscript does not have are these:
//
//	exits CODE COMMAND...       run it and check its exit code
//	broker                      start an embedded broker, for $PROCD_BROKERS
//	topic NAME PARTITIONS       create a topic on it
//	produce TOPIC FILE          lines of "key value"
//	outputs TOPIC FILE          wait until the committed values are FILE's lines
//	launch NAME COMMAND...      run it beside the script; NAME.out, NAME.err
//	saying NAME PATTERN         wait until NAME.err has the pattern
//	signal NAME TERM|INT|STOP|CONT
//	ended NAME CODE             wait for its end and check its exit code
//	port NAME                   put a free port into the environment
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "broker": broker, "topic": topic, "produce": produce, "outputs": outputs,
			"launch": launch, "saying": saying, "signal": signal, "ended": ended, "port": port,
		},
		Setup: func(env *testscript.Env) error {
			env.Values["stage"] = &stage{processes: map[string]*exec.Cmd{}}
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// stage is what a script has running.
type stage struct {
	broker    *embedded.Broker
	processes map[string]*exec.Cmd
}

func on(ts *testscript.TestScript) *stage { return ts.Value("stage").(*stage) }

// patience bounds every wait of a script.
const patience = 30 * time.Second

// eventually waits until check returns nil.
func eventually(ts *testscript.TestScript, check func() error) {
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func broker(ts *testscript.TestScript, _ bool, _ []string) {
	b, err := embedded.Start()
	ts.Check(err)
	ts.Defer(b.Close)
	on(ts).broker = b
	ts.Setenv("PROCD_BROKERS", b.Addr())
}

func port(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

func topic(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(on(ts).broker.CreateTopic(args[0], int32(n)))
}

func client(ts *testscript.TestScript, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(on(ts).broker.Addr()))...)
	ts.Check(err)
	return cl
}

func produce(ts *testscript.TestScript, _ bool, args []string) {
	cl := client(ts)
	defer cl.Close()
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		r := &kgo.Record{Topic: args[0], Key: []byte(key), Value: []byte(value)}
		ts.Check(cl.ProduceSync(context.Background(), r).FirstErr())
	}
}

func outputs(ts *testscript.TestScript, _ bool, args []string) {
	cl := client(ts, kgo.ConsumeTopics(args[0]), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	want, got := ts.ReadFile(args[1]), ""
	eventually(ts, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { got += string(r.Value) + "\n" })
		if got != want {
			return fmt.Errorf("%s holds:\n%swant:\n%s", args[0], got, want)
		}
		return nil
	})
}

func launch(ts *testscript.TestScript, _ bool, args []string) {
	// testscript puts its commands first into the path.
	bin, _, _ := strings.Cut(ts.Getenv("PATH"), string(filepath.ListSeparator))
	cmd := exec.Command(filepath.Join(bin, args[1]), args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "PROCD_BROKERS"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer out.Close()
	errOut, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer errOut.Close()
	cmd.Stdout, cmd.Stderr = out, errOut
	ts.Check(cmd.Start())
	on(ts).processes[args[0]] = cmd
	ts.Defer(func() {
		if on(ts).processes[args[0]] == cmd {
			_ = cmd.Process.Kill() // the script failed before its end
			_ = cmd.Wait()
			ts.Logf("%s said:\n%s", args[0], ts.ReadFile(args[0]+".err"))
		}
	})
}

func saying(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[1])
	eventually(ts, func() error {
		if text := ts.ReadFile(args[0] + ".err"); !pattern.MatchString(text) {
			return fmt.Errorf("%s did not say %q:\n%s", args[0], args[1], text)
		}
		return nil
	})
}

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
}

func signal(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(on(ts).processes[args[0]].Process.Signal(signals[args[1]]))
}

func ended(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	cmd := on(ts).processes[args[0]]
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done: // the exit code says how
	case <-time.After(patience):
		ts.Fatalf("%s still runs after %s:\n%s", args[0], patience, ts.ReadFile(args[0]+".err"))
	}
	delete(on(ts).processes, args[0])
	if code := cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("%s: exit code %d, want %d:\n%s", args[0], code, want, ts.ReadFile(args[0]+".err"))
	}
}
