package embedded_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd/internal/cluster"
	"github.com/procd/procd/internal/embedded"
)

// What `dev` and `demo` start must pass the check that `start` makes (T3).
func TestPassesTheClusterCheck(t *testing.T) {
	b, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.CreateTopic("events", 3); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTopic("events", 3); err == nil {
		t.Error("creating a topic twice: no error")
	}
	c := cluster.Config{Brokers: []string{b.Addr()}}
	opts, err := c.Opts()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	warning, err := cluster.Check(t.Context(), cl, c)
	if warning != "" || err != nil {
		t.Errorf("Check = %q, %v", warning, err)
	}
}
