package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// child is a process of the story.
type child struct {
	name  string
	cmd   *exec.Cmd
	admin string // address of its metrics; "": it has none
	log   *os.File
	done  chan struct{} // closed when it was reaped
}

// spawn starts procd with the given arguments; what it logs goes to a file in
// dir.
func spawn(executable, dir, name string, args ...string) (*child, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	c := &child{name: name, cmd: exec.Command(executable, args...), log: log, done: make(chan struct{})}
	c.cmd.Dir, c.cmd.Stderr = dir, log
	// A group of its own: Ctrl-C is for the demo, which then ends the others.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c, nil
}

func (c *child) start() error {
	if err := c.cmd.Start(); err != nil {
		c.log.Close()
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		// How it ended is asked with code.
		_ = c.cmd.Wait()
		c.log.Close()
		close(c.done)
	}()
	return nil
}

// kill is kill -9.
func (c *child) kill() {
	// It may have ended by itself.
	_ = c.cmd.Process.Kill()
	<-c.done
}

// code waits for the end and returns the exit code.
func (c *child) code(wait time.Duration) (int, error) {
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode(), nil
	case <-time.After(wait):
		return 0, fmt.Errorf("%s still runs after %s", c.name, wait)
	}
}

// broker is the embedded broker's process.
type broker struct {
	*child
	addr  string
	stdin io.Closer // its end ends the broker
}

// brokerWait bounds the wait for the broker's address.
const brokerWait = 10 * time.Second

func startBroker(executable, dir, command string) (*broker, error) {
	c, err := spawn(executable, dir, "broker", command)
	if err != nil {
		return nil, err
	}
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	// Not StdoutPipe: Wait would close it under the reader.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	defer read.Close()
	c.cmd.Stdout = write
	err = c.start()
	write.Close()
	if err != nil {
		return nil, err
	}
	b := &broker{child: c, stdin: stdin}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(read).ReadString('\n') // "" if it failed
		line <- strings.TrimSpace(text)
	}()
	select {
	case b.addr = <-line:
	case <-time.After(brokerWait):
	}
	if b.addr == "" {
		b.kill()
		return nil, errors.New("the embedded broker did not start")
	}
	return b, nil
}

func (b *broker) close() {
	b.stdin.Close()
	<-b.done
}
