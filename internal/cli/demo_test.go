package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDemoSeesTampering writes two alarms too many while the demo runs: one a
// second time, and one that nothing raised. It must see both, and fail.
func TestDemoSeesTampering(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "procd", "demo", "--json")
	result, problems := &strings.Builder{}, &strings.Builder{}
	cmd.Stdout = result
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	story := bufio.NewReader(io.TeeReader(stderr, problems))
	first, err := story.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	tamper(ctx, t, regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(first))
	if _, err := io.Copy(io.Discard, story); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit code 1", err)
	}
	var verdict struct{ Lost, Doubled, Wrong int }
	if err := json.Unmarshal([]byte(result.String()), &verdict); err != nil {
		t.Fatal(err)
	}
	if verdict.Lost != 0 || verdict.Doubled != 1 || verdict.Wrong != 1 {
		t.Errorf("it found %+v", verdict)
	}
	if text := problems.String(); !strings.Contains(text, ": 0 lost, 1 doubled, 1 wrong\n") || !strings.Contains(text, "procd: the demo found ") {
		t.Errorf("it said:\n%s", text)
	}
}

// tamper doubles the first alarm of the broker and adds another one.
func tamper(ctx context.Context, t *testing.T, broker string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("alarms"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var alarm *kgo.Record
	for alarm == nil && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { alarm = r })
	}
	if alarm == nil {
		t.Fatal("no alarm to double")
	}
	again := &kgo.Record{Topic: "alarms", Key: alarm.Key, Value: alarm.Value}
	never := &kgo.Record{Topic: "alarms", Key: []byte("7"), Value: []byte(`{"type":"ALARM","room":7,"time":1}`)}
	if err := client.ProduceSync(ctx, again, never).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
