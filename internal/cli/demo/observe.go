package demo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// freeAddress is a loopback address that nobody listens on at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// running says whether all tasks run, and every process has some.
func (s *story) running(ctx context.Context) (bool, error) {
	all := 0
	for _, c := range s.alive {
		n, err := runningTasks(ctx, c.admin)
		if err != nil {
			return false, fmt.Errorf("ask process %s: %w", c.name, err)
		}
		if n == 0 {
			return false, nil
		}
		all += n
	}
	return all == partitions, nil
}

// runningTasks asks a process, as a monitoring system does, how many tasks it
// runs.
func runningTasks(ctx context.Context, admin string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, "procd_tasks{") || !strings.Contains(line, `state="running"`) {
			continue
		}
		value := line[strings.LastIndexByte(line, ' ')+1:]
		n, err := strconv.ParseFloat(value, 64)
		return int(n), err
	}
	return 0, nil // the job has not begun
}

// committed is where the job is.
func (s *story) committed(ctx context.Context) (positions, error) {
	offsets, err := kadm.NewClient(s.feed.client).FetchOffsets(ctx, "procd."+jobName)
	if err != nil {
		return nil, fmt.Errorf("ask for the job's offsets: %w", err)
	}
	at := positions{}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == sourceTopic {
			at[o.Partition] = o.At
		}
	})
	return at, nil
}

// processed says whether the job has committed all events before a place.
func (s *story) processed(to positions) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		at, err := s.committed(ctx)
		return err == nil && reached(at, to), err
	}
}

// allRead says whether the reader has everything that is committed.
func (s *story) allRead(ctx context.Context) (bool, error) {
	offsets, err := kadm.NewClient(s.feed.client).ListCommittedOffsets(ctx, outputTopic)
	if err != nil {
		return false, fmt.Errorf("ask for the alarms' offsets: %w", err)
	}
	end := positions{}
	offsets.Each(func(o kadm.ListedOffset) { end[o.Partition] = o.Offset })
	at, err := s.reader.position()
	return err == nil && reached(at, end), err
}

// reached says whether one place is nowhere before another.
func reached(at, to positions) bool {
	for p, offset := range to {
		if at[p] < offset {
			return false
		}
	}
	return true
}

// between is how many events are between two places.
func between(from, to positions) (n int64) {
	for p, offset := range to {
		n += offset - from[p]
	}
	return n
}

// ends is the place behind all events.
func ends(past []written) positions {
	at := positions{}
	for _, e := range past {
		at[e.partition] = max(at[e.partition], e.offset+1)
	}
	return at
}
