package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/embedded"
)

// TestReadmePitStop types the README's pit stop into a shell, line by line, with
// motions in between.
func TestReadmePitStop(t *testing.T) {
	s := newShell(t)
	lines := pitStop(t)
	if len(lines) != 6 {
		t.Fatalf("the pit stop has %d lines", len(lines))
	}
	s.send("activate", 0)
	s.send("motion", 3000)
	s.enter(lines[0])
	s.rings(3000) // too eagerly
	s.finishes(lines[1])
	s.send("motion", 4000)
	s.rings(3000, 4000)
	s.finishes(lines[2])
	if !regexp.MustCompile(`(?m)^STOPPED motion-alarm `).MatchString(s.said()) {
		t.Errorf("it does not say that the job is stopped:\n%s", s.said())
	}
	s.finishes(lines[3])
	s.send("motion", 5000)
	s.send("motion", 6000)
	s.enter(lines[4])
	s.rings(3000, 4000, 6000)
	s.enter(lines[5])
	s.rings(3000, 4000, 6000, 6000) // what rang at 4000 rings no more
	s.run("procd", "stop", "motion-alarm")
	s.finishes("")
}

// pitStop are the lines of the README's block of shell.
func pitStop(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)## The pit stop.*?```sh\n(.*?)\n```").FindSubmatch(text)
	if block == nil {
		t.Fatal("the README has no pit stop")
	}
	return strings.Split(string(block[1]), "\n")
}

// shell is a user's shell beside an embedded broker.
type shell struct {
	t      *testing.T
	dir    string
	env    []string
	client *kgo.Client
	pid    int
	in     io.WriteCloser
	lines  chan string // of its stdout

	mu     sync.Mutex
	out    bytes.Buffer // stdout and stderr
	alarms []string
}

// Write collects what the shell and its processes say.
func (s *shell) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *shell) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func (s *shell) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func newShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{t: t, dir: t.TempDir(), lines: make(chan string, 1000)}
	b, err := embedded.Start()
	s.check(err)
	t.Cleanup(b.Close)
	s.check(b.CreateTopic("alarm-events", 2))
	s.check(b.CreateTopic("alarms", 2))
	s.env = append(os.Environ(), "PROCD_BROKERS="+b.Addr())
	s.client, err = kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics("alarms"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	s.check(err)
	t.Cleanup(s.client.Close)
	for _, version := range []string{"motion-alarm-v1.yaml", "motion-alarm-v2.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../examples/motion-alarm", version))
		s.check(err)
		s.check(os.WriteFile(filepath.Join(s.dir, version), text, 0o644))
	}
	s.open()
	return s
}

// open starts the shell. What it starts ends with it.
func (s *shell) open() {
	cmd := exec.Command("sh")
	cmd.Dir, cmd.Env, cmd.Stderr = s.dir, s.env, s
	in, err := cmd.StdinPipe()
	s.check(err)
	out, err := cmd.StdoutPipe()
	s.check(err)
	s.in = in
	s.check(cmd.Start())
	s.pid = cmd.Process.Pid
	go func() {
		scanner := bufio.NewScanner(io.TeeReader(out, s))
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
		close(s.lines)
	}()
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the shell said:\n%s", s.said())
			s.run("procd", "stop", "motion-alarm")
		}
		s.check(in.Close())
		for range s.lines { // until all that it started is gone
		}
		_ = cmd.Wait() // its exit code is that of the last line, which was checked
	})
}

func (s *shell) run(name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("%s %v: %v: %s", name, args, err, out)
	}
}

// enter types a line.
func (s *shell) enter(line string) {
	s.t.Helper()
	_, err := fmt.Fprintln(s.in, line)
	s.check(err)
}

// finishes types a line that must end with exit code 0.
func (s *shell) finishes(line string) {
	s.t.Helper()
	s.enter(line)
	s.enter("echo finished $?")
	late := time.After(patience)
	for {
		select {
		case said, ok := <-s.lines:
			if !ok {
				s.t.Fatal("the shell has ended")
			}
			if code, finished := strings.CutPrefix(said, "finished "); finished {
				if code != "0" {
					s.t.Fatalf("%s: exit code %s", line, code)
				}
				return
			}
		case <-late:
			s.quit()
			s.t.Fatalf("%s: not finished after %s", line, patience)
		}
	}
}

// quit ends what the shell has started, and makes it say where it stands.
func (s *shell) quit() {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", s.pid))
	if err != nil {
		s.t.Log(err) // another system
	}
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		s.check(err)
		_ = syscall.Kill(pid, syscall.SIGQUIT) // it may be gone
		for late := time.After(5 * time.Second); syscall.Kill(pid, 0) == nil; {
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-late:
			}
			break
		}
	}
}

// send writes an event of room 1.
func (s *shell) send(kind string, at int64) {
	s.t.Helper()
	r := &kgo.Record{Topic: "alarm-events", Key: []byte("1"), Value: fmt.Appendf(nil, `{"type":%q,"room":1,"time":%d}`, kind, at)}
	s.check(s.client.ProduceSync(context.Background(), r).FirstErr())
}

// rings waits until exactly these alarms have been written, in this order.
func (s *shell) rings(times ...int64) {
	s.t.Helper()
	var want []string
	for _, at := range times {
		want = append(want, fmt.Sprintf(`{"type":"ALARM","room":1,"time":%d}`, at))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for len(s.alarms) < len(want) && ctx.Err() == nil {
		s.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { s.alarms = append(s.alarms, string(r.Value)) })
	}
	if got := strings.Join(s.alarms, "\n"); got != strings.Join(want, "\n") {
		s.t.Fatalf("alarms:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}
