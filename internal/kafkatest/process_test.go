package kafkatest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(t *testing.T, script string) *Process {
	t.Helper()
	p, err := startProcess(exec.Command("sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestProcessStop(t *testing.T) {
	p := sh(t, `trap 'echo bye; exit 7' TERM; echo up; while :; do read -t 1 line < /dev/zero; done`)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if _, err := p.Stdout.WaitFor(ctx, regexp.MustCompile(`up`)); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Stop(syscall.SIGTERM, long); err != nil || code != 7 {
		t.Fatalf("code %d, %v", code, err)
	}
	if got := p.Stdout.String(); got != "up\nbye\n" {
		t.Errorf("printed %q", got)
	}
}

func TestProcessKilledAfterTimeout(t *testing.T) {
	p := sh(t, `trap '' TERM; echo up; while :; do :; done`)
	if _, err := p.Stdout.WaitFor(t.Context(), regexp.MustCompile(`up`)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stop(syscall.SIGTERM, brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if p.Running() {
		t.Error("still runs")
	}
}

func TestWaitForEndsWithTheProcess(t *testing.T) {
	_, err := sh(t, `echo no luck`).Stdout.WaitFor(t.Context(), regexp.MustCompile(`ready`))
	if !errors.Is(err, ErrExited) || !strings.Contains(err.Error(), "no luck") {
		t.Fatalf("error %v", err)
	}
}

// TestChildDiesWithItsParent runs this test binary again as the parent of a
// child, and kills that parent.
func TestChildDiesWithItsParent(t *testing.T) {
	if os.Getenv("KAFKATEST_PARENT") != "" {
		child := sh(t, `echo $$; while :; do sleep 1; done`)
		m, err := child.Stdout.WaitFor(t.Context(), regexp.MustCompile(`(\d+)\n`))
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("child " + m[1] + "\n")
		<-child.Done()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildDiesWithItsParent$")
	cmd.Env = append(os.Environ(), "KAFKATEST_PARENT=1")
	parent, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parent.Kill)
	m, err := parent.Stdout.WaitFor(t.Context(), regexp.MustCompile(`child (\d+)\n`))
	if err != nil {
		t.Fatal(err)
	}
	parent.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	err = Until(ctx, time.Millisecond, func() error {
		// A zombie that nobody has reaped yet is dead enough.
		stat, err := os.ReadFile("/proc/" + m[1] + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return errors.New("the child lives")
	})
	if err != nil {
		t.Fatal(err)
	}
}
