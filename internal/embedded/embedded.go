// Package embedded is a Kafka broker inside of a process: franz-go's kfake, for
// `procd demo`, `procd dev` and the tests of commands. It keeps everything in
// memory. It is no judge of crashes: it aborts a dead producer's transaction at
// once, where a real broker takes its time.
package embedded

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
}

// Start runs a broker on a free port of the loopback address. Close it.
func Start() (*Broker, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return nil, fmt.Errorf("procd/embedded: start the broker: %w", err)
	}
	return &Broker{cluster}, nil
}

// Addr is the broker's address, host:port.
func (b *Broker) Addr() string { return strings.Join(b.cluster.ListenAddrs(), ",") }

// CreateTopic makes a topic; one that exists already is an error.
func (b *Broker) CreateTopic(name string, partitions int32) error {
	if err := b.cluster.CreateTopic(name, partitions, nil); err != nil {
		return fmt.Errorf("procd/embedded: create topic %s: %w", name, err)
	}
	return nil
}

// Close ends the broker and forgets everything in it.
func (b *Broker) Close() { b.cluster.Close() }
