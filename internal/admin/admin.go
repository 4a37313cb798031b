// Package admin serves what operators ask a running process over HTTP:
//
//	/metrics   Prometheus
//	/livez     200 while the process works, 503 when it hangs: restart it
//	/readyz    200 when every task of this process runs; else 503, and which do not
//
// It listens on loopback unless told otherwise: nothing here is authenticated.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultAddr is where the server listens unless told otherwise.
const DefaultAddr = "127.0.0.1:9870"

// ErrAddress says that the address cannot be listened on.
var ErrAddress = errors.New("procd/admin: cannot listen")

// Probes answer /livez and /readyz; both are called from several goroutines.
type Probes struct {
	// Live returns nil, or why the process should be restarted.
	Live func() error
	// Ready returns what does not run yet, one line each; none: ready.
	Ready func() []string
}

// Server is a running admin server.
type Server struct {
	http *http.Server
	addr string
	done chan struct{}
}

// Serve listens on addr and serves in the background. If addr is DefaultAddr
// and taken, a free loopback port is used instead: ask [Server.Addr].
func Serve(addr string, metrics prometheus.Gatherer, probes Probes) (*Server, error) {
	listener, err := listen(addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", probes.live)
	mux.HandleFunc("GET /readyz", probes.ready)
	s := &Server{
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		addr: listener.Addr().String(),
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		// It ends with ErrServerClosed; anything else means that accepting
		// failed, which the next probe shows.
		_ = s.http.Serve(listener)
	}()
	return s, nil
}

func listen(addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) && addr == DefaultAddr {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w", ErrAddress, addr, err)
	}
	return listener, nil
}

// Addr is the address the server listens on, host:port.
func (s *Server) Addr() string { return s.addr }

// Close ends the server; requests under way are cut off.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

func (p Probes) live(w http.ResponseWriter, _ *http.Request) {
	if err := p.Live(); err != nil {
		answer(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(w, http.StatusOK, "alive")
}

func (p Probes) ready(w http.ResponseWriter, _ *http.Request) {
	if missing := p.Ready(); len(missing) > 0 {
		answer(w, http.StatusServiceUnavailable, "not ready", missing...)
		return
	}
	answer(w, http.StatusOK, "ready")
}

func answer(w http.ResponseWriter, status int, verdict string, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, line := range append([]string{verdict}, lines...) {
		fmt.Fprintln(w, line)
	}
}

// maxAnswer bounds what Ask reads of an answer.
const maxAnswer = 64 << 10

// Ask requests /livez, or /readyz if ready, from the process at addr. It
// returns the answer's text; the error says that the process does not answer,
// or that its answer is no.
func Ask(ctx context.Context, addr string, ready bool) (string, error) {
	url := "http://" + dialable(addr) + "/livez"
	if ready {
		url = "http://" + dialable(addr) + "/readyz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("procd/admin: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("procd/admin: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("procd/admin: %s: %w", url, err)
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return text, fmt.Errorf("procd/admin: %s says: %s", url, strings.ReplaceAll(text, "\n", "; "))
	}
	return text, nil
}

// dialable turns a listening address into one to connect to: a server that
// listens everywhere is asked on loopback.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}
