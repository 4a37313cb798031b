package admin_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/procd/procd/internal/admin"
)

// state is a process whose answers a test sets.
type state struct {
	live    error
	missing []string
}

func serve(t *testing.T, addr string, s *state) *admin.Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "procd_test_total", Help: "For the test."}))
	server, err := admin.Serve(addr, reg, admin.Probes{
		Live:  func() error { return s.live },
		Ready: func() []string { return s.missing },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func TestProbes(t *testing.T) {
	s := &state{}
	addr := serve(t, "127.0.0.1:0", s).Addr()

	if text, err := admin.Ask(t.Context(), addr, false); err != nil || text != "alive" {
		t.Errorf("alive: %q, %v", text, err)
	}
	if text, err := admin.Ask(t.Context(), addr, true); err != nil || text != "ready" {
		t.Errorf("ready: %q, %v", text, err)
	}

	s.live = errors.New("worker 0 made no step for 61s")
	s.missing = []string{"in:events/3 is restoring: 120 left"}
	if _, err := admin.Ask(t.Context(), addr, false); err == nil || !strings.Contains(err.Error(), "made no step for 61s") {
		t.Errorf("hanging: %v", err)
	}
	if text, err := admin.Ask(t.Context(), addr, true); err == nil || !strings.Contains(text, "in:events/3 is restoring: 120 left") {
		t.Errorf("restoring: %q, %v", text, err)
	}
}

func TestMetrics(t *testing.T) {
	addr := serve(t, "127.0.0.1:0", &state{}).Addr()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "procd_test_total 0") {
		t.Errorf("metrics: %v\n%s", err, body)
	}
}

// A container that listens everywhere asks itself on loopback.
func TestAskUnspecifiedAddress(t *testing.T) {
	_, port, err := net.SplitHostPort(serve(t, "0.0.0.0:0", &state{}).Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Ask(t.Context(), "0.0.0.0:"+port, false); err != nil {
		t.Error(err)
	}
}

func TestDefaultAddressTaken(t *testing.T) {
	// Whoever holds it already, this test or another process, it is taken.
	if l, err := net.Listen("tcp", admin.DefaultAddr); err == nil {
		defer l.Close()
	}
	server := serve(t, admin.DefaultAddr, &state{})
	if server.Addr() == admin.DefaultAddr {
		t.Errorf("listens on %s, which was taken", server.Addr())
	}
	if _, err := admin.Serve(server.Addr(), prometheus.NewRegistry(), admin.Probes{}); !errors.Is(err, admin.ErrAddress) {
		t.Errorf("an address that was asked for and is taken: %v", err)
	}
}
