package kafkatest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frame is a request with header and nothing after it; a reply's correlation
// id is at the same place as a request's key and version.
func frame(key, version int16, correlation int32, client string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(key))
	body = binary.BigEndian.AppendUint16(body, uint16(version))
	body = binary.BigEndian.AppendUint32(body, uint32(correlation))
	body = binary.BigEndian.AppendUint16(body, uint16(len(client)))
	body = append(body, client...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// answering is a broker that answers each request with its correlation id and
// counts them.
type answering struct {
	net.Listener
	seen atomic.Int32
}

func newAnswering(t *testing.T) *answering {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &answering{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(conn)
		}
	}()
	return a
}

func (a *answering) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var buf []byte
	for {
		var err error
		if buf, err = readFrame(in, buf); err != nil {
			return
		}
		a.seen.Add(1)
		reply := append([]byte{0, 0, 0, 4}, buf[8:12]...)
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

func startProxy(t *testing.T) (*Proxy, *answering) {
	backend := newAnswering(t)
	p, err := NewProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.setBackend(backend.Addr().String())
	return p, backend
}

// client is one connection through the proxy.
type client struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, p *Proxy) client {
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client{t, conn}
}

// ask sends a request and returns the answer's correlation id, or the error of
// waiting for it.
func (c client) ask(key int16, correlation int32, wait time.Duration) (int32, error) {
	if _, err := c.Write(frame(key, 4, correlation, "me")); err != nil {
		return 0, err
	}
	return c.answer(wait)
}

func (c client) answer(wait time.Duration) (int32, error) {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	buf, err := readFrame(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(buf[4:])), nil
}

const (
	long  = 10 * time.Second
	brief = 50 * time.Millisecond
)

var endTxn = kmsg.EndTxn.Int16()

func judgeEndTxn(v Verdict) func(Request) Verdict {
	return func(r Request) Verdict {
		if r.Key == endTxn && r.Version == 4 && r.ClientID == "me" {
			return v
		}
		return Verdict{}
	}
}

func TestProxyPasses(t *testing.T) {
	p, _ := startProxy(t)
	p.Judge(judgeEndTxn(Verdict{Fate: LoseReply}))
	if got, err := dial(t, p).ask(3, 77, long); err != nil || got != 77 {
		t.Fatalf("got %d, %v", got, err)
	}
}

func TestProxyFates(t *testing.T) {
	for _, test := range []struct {
		name   string
		fate   Fate
		seen   int32
		silent bool // no answer and no end, rather than an end
	}{
		{"LoseRequest", LoseRequest, 1, true},
		{"LoseReply", LoseReply, 2, true},
		{"CutAtReply", CutAtReply, 2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, backend := startProxy(t)
			met := make(chan struct{})
			p.Judge(judgeEndTxn(Verdict{Fate: test.fate, Met: met}))
			c := dial(t, p)
			if _, err := c.ask(3, 1, long); err != nil {
				t.Fatal(err)
			}
			wait := long
			if test.silent {
				wait = brief
			}
			_, err := c.ask(endTxn, 2, wait)
			if got := errors.Is(err, os.ErrDeadlineExceeded); err == nil || got != test.silent {
				t.Errorf("answer: %v, silent should be %v", err, test.silent)
			}
			select {
			case <-met:
			case <-time.After(long):
				t.Error("nobody was told that the fate was met")
			}
			if got := backend.seen.Load(); got != test.seen {
				t.Errorf("the broker saw %d requests, want %d", got, test.seen)
			}
			if got, err := dial(t, p).ask(3, 3, long); err != nil || got != 3 {
				t.Errorf("another connection: %d, %v", got, err)
			}
		})
	}
}

func TestProxyDelay(t *testing.T) {
	p, _ := startProxy(t)
	p.Judge(func(Request) Verdict { return Verdict{Delay: brief} })
	start := time.Now()
	if _, err := dial(t, p).ask(3, 1, long); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < brief {
		t.Fatalf("answered after %v", took)
	}
}

func TestProxyBlackHoleDeliversAfterHeal(t *testing.T) {
	p, backend := startProxy(t)
	c := dial(t, p)
	p.BlackHole()
	if _, err := c.ask(3, 9, brief); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("in the black hole: %v", err)
	}
	if got := backend.seen.Load(); got != 0 {
		t.Fatalf("the broker saw %d requests", got)
	}
	p.Heal()
	if got, err := c.answer(long); err != nil || got != 9 {
		t.Fatalf("after healing: %d, %v", got, err)
	}
}

func TestProxyCut(t *testing.T) {
	p, _ := startProxy(t)
	c := dial(t, p)
	if _, err := c.ask(3, 1, long); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if _, err := c.answer(long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after the cut: %v", err)
	}
}
