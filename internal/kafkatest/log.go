package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Log keeps what a process prints, and wakes those who wait for a line of it.
type Log struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed and replaced at each write
	closed  bool
}

func newLog() *Log { return &Log{changed: make(chan struct{})} }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

func (l *Log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func (l *Log) state() (text string, changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.changed, l.closed
}

// String is everything printed so far.
func (l *Log) String() string {
	text, _, _ := l.state()
	return text
}

// Tail is the last n lines.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// WaitFor waits until what was printed matches re, and returns the match and
// its groups. A process that ends without it is [ErrExited].
func (l *Log) WaitFor(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	for {
		text, changed, closed := l.state()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		if closed {
			return nil, fmt.Errorf("%w: waiting for %q in its output:\n%s", ErrExited, re, l.Tail(30))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("procd/kafkatest: waiting for %q in the output:\n%s\n%w", re, l.Tail(30), ctx.Err())
		}
	}
}
