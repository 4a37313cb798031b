package it

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/procd/procd/internal/kafkatest"
)

// metered is a process whose metrics can be read.
type metered struct {
	*kafkatest.Process
	t    *testing.T
	addr string
}

// metered starts a process with an admin address.
func (j *job) metered(data string, flags ...string) metered {
	j.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(j.t, err)
	addr := l.Addr().String()
	must(j.t, l.Close())
	return metered{j.startIn(data, append(flags, "--admin", addr)...), j.t, addr}
}

// sum is the sum of a metric's series that have the given labels, in pairs of
// name and value; 0 if there is none. It waits for the admin server to answer.
func (m metered) sum(name string, labels ...string) (total float64) {
	m.t.Helper()
	var families map[string]*dto.MetricFamily
	eventually(m.t, 10*time.Second, func() (err error) {
		families, err = m.scrape()
		return err
	})
	for _, series := range families[name].GetMetric() {
		if hasLabels(series, labels) {
			total += series.GetCounter().GetValue() + series.GetGauge().GetValue()
		}
	}
	return total
}

func hasLabels(series *dto.Metric, want []string) bool {
	have := map[string]string{}
	for _, l := range series.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(want); i += 2 {
		if have[want[i]] != want[i+1] {
			return false
		}
	}
	return true
}

func (m metered) scrape() (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	body, code, err := m.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer body.Body.Close()
	if code != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %d", code)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(body.Body)
}

// get asks the admin server; the caller closes the body.
func (m metered) get(ctx context.Context, path string) (*http.Response, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.addr+path, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	return resp, resp.StatusCode, nil
}

// terminate is SIGTERM, as a container's stop sends it.
func (j *job) terminate(procs ...*kafkatest.Process) {
	j.t.Helper()
	j.signal(syscall.SIGTERM, procs...)
}
