package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// barEvery is how often a bar on a terminal is drawn.
const barEvery = 100 * time.Millisecond

// barWidth is the number of characters of a bar.
const barWidth = 24

// progress shows on stderr how far long work is: a bar on a terminal, a line
// every few seconds elsewhere. Its methods may be called by any goroutine.
type progress struct {
	w        io.Writer
	what     string
	terminal bool
	done     chan struct{}
	ended    chan struct{}

	mu    sync.Mutex
	text  string
	bytes int64
	total int64
	drawn bool // the bar stands on the line
}

func (a *app) newProgress(what string) *progress {
	p := &progress{w: a.Err, what: what, terminal: isTerminal(a.Err), done: make(chan struct{}), ended: make(chan struct{})}
	every := progressEvery
	if p.terminal {
		every = barEvery
	}
	go p.run(every)
	return p
}

// isTerminal reports whether somebody may be watching.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// set replaces what is shown. total is 0 while it is not known.
func (p *progress) set(text string, bytes, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.bytes, p.total = text, bytes, total
}

// add counts bytes.
func (p *progress) add(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += int64(bytes)
}

// end takes the bar away.
func (p *progress) end() {
	close(p.done)
	<-p.ended
}

func (p *progress) run(every time.Duration) {
	defer close(p.ended)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.show()
		case <-p.done:
			if p.drawn {
				fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := p.what
	if p.text != "" {
		line += ": " + p.text
	}
	switch {
	case p.total > 0:
		line += fmt.Sprintf(", %s of %s", byteText(p.bytes), byteText(p.total))
	case p.bytes > 0:
		line += ", " + byteText(p.bytes)
	}
	if !p.terminal {
		fmt.Fprintln(p.w, "procd: "+line)
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s %s", bar(p.bytes, p.total), line)
	p.drawn = true
}

// bar is full when all bytes are there.
func bar(bytes, total int64) string {
	full := 0
	if total > 0 {
		full = int(min(bytes, total) * barWidth / total)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}

// byteText is a size for people.
func byteText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	unit, size := 0, float64(n)
	for ; size >= 1<<10 && unit < 4; unit++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", size, " KMGT"[unit])
}
