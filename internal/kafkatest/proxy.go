package kafkatest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Fate is what happens to one request and its reply on their way through a
// [Proxy].
type Fate int

const (
	// Pass hands request and reply on.
	Pass Fate = iota
	// LoseRequest makes the connection silent before the broker has seen the
	// request.
	LoseRequest
	// LoseReply makes the connection silent when the broker has answered: what
	// was asked for has happened, and the client is never told.
	LoseReply
	// CutAtReply closes the connection when the broker has answered.
	CutAtReply
)

// Verdict is a fate and, for a reply that passes, how long it is held back.
type Verdict struct {
	Fate  Fate
	Delay time.Duration
	// Met, unless nil, is closed when the fate has been met: the request is
	// lost, or the broker has answered it.
	Met chan struct{}
}

func (v Verdict) met() {
	if v.Met != nil {
		close(v.Met)
	}
}

// Request is what a [Proxy] reads of a request's header.
type Request struct {
	Key      int16 // the API, as kmsg.Key
	Version  int16
	ClientID string
}

// Proxy stands between clients and one listener of a [Broker].
type Proxy struct {
	listener net.Listener

	mu      sync.Mutex
	backend string
	judge   func(Request) Verdict
	conns   map[*proxyConn]struct{}
	open    chan struct{} // closed: bytes flow; open: black hole
	closed  bool
}

// NewProxy listens on a port of 127.0.0.1 that stays the same for its life.
func NewProxy() (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("procd/kafkatest: proxy: %w", err)
	}
	p := &Proxy{listener: l, conns: map[*proxyConn]struct{}{}, open: make(chan struct{})}
	close(p.open)
	go p.accept()
	return p, nil
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) setBackend(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = addr
}

// Judge has judge decide over each request from now on; nil passes all. It is
// called by many goroutines.
func (p *Proxy) Judge(judge func(Request) Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = judge
}

func (p *Proxy) verdict(r Request) Verdict {
	p.mu.Lock()
	judge := p.judge
	p.mu.Unlock()
	if judge == nil {
		return Verdict{}
	}
	return judge(r)
}

// Cut closes every connection, as a load balancer's restart does.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.close()
	}
}

// BlackHole stops all bytes in both directions: connections stay up and are
// accepted, and nothing arrives. [Proxy.Heal] lets what was sent arrive, as
// TCP does after a partition.
func (p *Proxy) BlackHole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default:
	}
}

// Heal ends a [Proxy.BlackHole].
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func (p *Proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Cut()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	backend := p.backend
	p.mu.Unlock()
	broker, err := net.Dial("tcp", backend)
	if err != nil {
		client.Close()
		return
	}
	c := &proxyConn{proxy: p, client: client, broker: broker, pending: map[int32]Verdict{}, done: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		c.close()
	}
	var both sync.WaitGroup
	both.Go(func() { c.pump(client, broker, c.request) })
	both.Go(func() { c.pump(broker, client, c.reply) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// proxyConn is one client's connection and its twin to the broker.
type proxyConn struct {
	proxy          *Proxy
	client, broker net.Conn
	closeOnce      sync.Once
	done           chan struct{}
	silent         atomic.Bool // nothing passes any more, in either direction

	mu      sync.Mutex
	pending map[int32]Verdict // by correlation id, only those that are not plain passes
}

func (c *proxyConn) close() {
	c.closeOnce.Do(func() {
		close(c.done)
		c.client.Close()
		c.broker.Close()
	})
}

var (
	errSilent = errors.New("silent from here on")
	errCut    = errors.New("cut")
)

// pump moves frames until the connection ends or judge says so.
func (c *proxyConn) pump(from io.Reader, to io.Writer, judge func(frame []byte) error) {
	in := bufio.NewReaderSize(from, 64<<10)
	var frame []byte
	for {
		var err error
		if frame, err = readFrame(in, frame); err != nil {
			break
		}
		if err = c.waitOpen(); err != nil {
			break
		}
		if err = judge(frame); errors.Is(err, errSilent) {
			c.silent.Store(true)
		} else if err != nil {
			break
		}
		if c.silent.Load() {
			continue // read on, or the end of the connection would go unseen
		}
		if _, err = to.Write(frame); err != nil {
			break
		}
	}
	c.close()
}

func (c *proxyConn) waitOpen() error {
	select {
	case <-c.proxy.gate():
		return nil
	case <-c.done:
		return errCut
	}
}

// request judges a request by its header: api key, version, correlation id and
// the client's name, which have had the same places in every version.
func (c *proxyConn) request(frame []byte) error {
	r, correlation, err := parseHeader(frame)
	if err != nil {
		return err
	}
	v := c.proxy.verdict(r)
	if v.Fate == LoseRequest {
		v.met()
		return errSilent
	}
	if v != (Verdict{}) {
		c.mu.Lock()
		c.pending[correlation] = v
		c.mu.Unlock()
	}
	return nil
}

// reply applies the verdict that its request got.
func (c *proxyConn) reply(frame []byte) error {
	if len(frame) < 8 {
		return io.ErrUnexpectedEOF
	}
	correlation := int32(binary.BigEndian.Uint32(frame[4:]))
	c.mu.Lock()
	v := c.pending[correlation]
	delete(c.pending, correlation)
	c.mu.Unlock()
	v.met()
	switch v.Fate {
	case LoseReply:
		return errSilent
	case CutAtReply:
		return errCut
	}
	if v.Delay > 0 {
		select {
		case <-time.After(v.Delay):
		case <-c.done:
			return errCut
		}
	}
	return nil
}

func parseHeader(frame []byte) (r Request, correlation int32, err error) {
	const fixed = 4 + 2 + 2 + 4 + 2 // size, key, version, correlation id, length of the client's name
	if len(frame) < fixed {
		return r, 0, io.ErrUnexpectedEOF
	}
	r.Key = int16(binary.BigEndian.Uint16(frame[4:]))
	r.Version = int16(binary.BigEndian.Uint16(frame[6:]))
	correlation = int32(binary.BigEndian.Uint32(frame[8:]))
	if n := int(int16(binary.BigEndian.Uint16(frame[12:]))); n > 0 {
		if len(frame) < fixed+n {
			return r, 0, io.ErrUnexpectedEOF
		}
		r.ClientID = string(frame[fixed : fixed+n])
	}
	return r, correlation, nil
}

// maxFrame is well above a broker's own limit (socket.request.max.bytes,
// 100 MiB).
const maxFrame = 256 << 20

// readFrame reads one length-prefixed message, prefix included, into buf.
func readFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	prefix, err := in.Peek(4)
	if err != nil {
		return buf, err
	}
	size := int(binary.BigEndian.Uint32(prefix)) + 4
	if size > maxFrame {
		return buf, fmt.Errorf("procd/kafkatest: a frame of %d bytes is not Kafka's", size)
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	_, err = io.ReadFull(in, buf)
	return buf, err
}
