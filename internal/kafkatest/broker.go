package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerOptions say how a broker is set up. The zero value is what most tests
// want.
type BrokerOptions struct {
	// Dir is the broker's folder, which must be empty; absent: a temporary one,
	// removed by [Broker.Stop].
	Dir string
	// Proxied adds a second listener that is reached through [Broker.Proxy]
	// only: clients that bootstrap from the proxy's address stay behind it.
	Proxied bool
	// LogDir, if given, holds the topics' data instead of a folder in Dir: a
	// small file system that is meant to run full, for instance.
	LogDir string
	// Settings are added to server.properties and win over the defaults here.
	Settings map[string]string
}

// Broker is an Apache Kafka in KRaft combined mode on 127.0.0.1.
type Broker struct {
	dir     string
	ownsDir bool
	jars    string
	ports   ports
	proxy   *Proxy
	proc    *Process
}

type ports struct{ Client, Controller, Proxied int }

// readyTimeout is how long a broker may take until it serves requests; 3 s are
// usual, a loaded machine with two cores takes ten times that.
const readyTimeout = 90 * time.Second

// portAttempts bounds the search for free ports: another process can take one
// between our choice and the broker's bind.
const portAttempts = 3

// StartBroker formats and starts a broker and returns when it serves requests.
// ctx bounds the start only. Its topics live until [Broker.Stop].
func StartBroker(ctx context.Context, o BrokerOptions) (*Broker, error) {
	lib, err := jars(ctx)
	if err != nil {
		return nil, err
	}
	if err := requireTools("java"); err != nil {
		return nil, err
	}
	b := &Broker{dir: o.Dir, jars: lib}
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "procd-kafka-"); err != nil {
			return nil, err
		}
		b.ownsDir = true
	}
	if err := b.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

func (b *Broker) setUp(ctx context.Context, o BrokerOptions) (err error) {
	if o.Proxied {
		if b.proxy, err = NewProxy(); err != nil {
			return err
		}
	}
	for range portAttempts {
		if err = b.choosePorts(o.Proxied); err != nil {
			return err
		}
		if err = b.format(ctx, o); err != nil {
			return err
		}
		if err = b.start(ctx); err == nil || !strings.Contains(b.proc.Stderr.String(), "Address already in use") {
			return err
		}
	}
	return err
}

func (b *Broker) choosePorts(proxied bool) error {
	want := []*int{&b.ports.Client, &b.ports.Controller}
	if proxied {
		want = append(want, &b.ports.Proxied)
	}
	for _, port := range want {
		// All stay open until the last is chosen, or the same could come twice.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// serverProperties follows the rule that timeouts a test waits for are short
// and everything a user's broker decides (transactions, log cleaning,
// timestamps) is as Kafka ships it.
var serverProperties = template.Must(template.New("server.properties").Parse(`
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{{.Ports.Controller}}
listeners=PLAINTEXT://127.0.0.1:{{.Ports.Client}},CONTROLLER://127.0.0.1:{{.Ports.Controller}}{{with .Ports.Proxied}},PROXIED://127.0.0.1:{{.}}{{end}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{.Ports.Client}}{{with .ProxyAddr}},PROXIED://{{.}}{{end}}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={{.LogDir}}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
{{range $name, $value := .Settings}}{{$name}}={{$value}}
{{end}}`))

func (b *Broker) properties() string { return filepath.Join(b.dir, "server.properties") }

// format writes the settings and an empty metadata log.
func (b *Broker) format(ctx context.Context, o BrokerOptions) error {
	logDir := o.LogDir
	if logDir == "" {
		logDir = filepath.Join(b.dir, "data")
	}
	data := struct {
		Ports             ports
		ProxyAddr, LogDir string
		Settings          map[string]string
	}{b.ports, "", logDir, o.Settings}
	if b.proxy != nil {
		data.ProxyAddr = b.proxy.Addr()
	}
	var text bytes.Buffer
	if err := serverProperties.Execute(&text, data); err != nil {
		return err
	}
	if err := os.WriteFile(b.properties(), text.Bytes(), 0o644); err != nil {
		return err
	}
	id, err := b.java("kafka.tools.StorageTool", "random-uuid").Output()
	if err != nil {
		return fmt.Errorf("procd/kafkatest: making a cluster id: %w", err)
	}
	out, err := b.java("kafka.tools.StorageTool", "format", "--ignore-formatted", "--standalone",
		"-t", lastLine(id), "-c", b.properties()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("procd/kafkatest: formatting the broker's folder: %w\n%s", err, out)
	}
	return ctx.Err()
}

// java is a command with the broker's class path.
func (b *Broker) java(args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{"-Xmx1g", "-Xshare:auto", "-cp", b.jars + "/*"}, args...)...)
	cmd.Dir = b.dir
	return cmd
}

func lastLine(out []byte) string {
	lines := strings.Fields(string(out))
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// start runs the formatted broker and waits until it is ready.
func (b *Broker) start(ctx context.Context) (err error) {
	if b.proc, err = startProcess(b.java("kafka.Kafka", b.properties())); err != nil {
		return err
	}
	if b.proxy != nil {
		b.proxy.setBackend(fmt.Sprintf("127.0.0.1:%d", b.ports.Proxied))
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := b.waitReady(ctx); err != nil {
		b.proc.Kill()
		return fmt.Errorf("procd/kafkatest: the broker did not get ready: %w\n%s", err, b.proc.Stderr.Tail(20))
	}
	return nil
}

// waitReady asks until the broker knows itself and both coordinators answer:
// a port that accepts connections says nothing about them.
func (b *Broker) waitReady(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	return Until(ctx, 100*time.Millisecond, func() error {
		if !b.proc.Running() {
			return Permanent(ErrExited)
		}
		return coordinatorsReady(ctx, cl)
	})
}

func coordinatorsReady(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return err
	}
	// Listing reaches both coordinators' state and needs no group or id to exist.
	groups, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	txns, err := kmsg.NewPtrListTransactionsRequest().RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	if groups.ErrorCode != 0 || txns.ErrorCode != 0 {
		return fmt.Errorf("procd/kafkatest: coordinators not ready: groups error %d, transactions error %d",
			groups.ErrorCode, txns.ErrorCode)
	}
	return nil
}

// Addr is the address that clients outside the proxy use.
func (b *Broker) Addr() string { return fmt.Sprintf("127.0.0.1:%d", b.ports.Client) }

// Proxy is the proxy in front of the second listener, nil without
// [BrokerOptions.Proxied].
func (b *Broker) Proxy() *Proxy { return b.proxy }

// PID is the process id of the running broker.
func (b *Broker) PID() int { return b.proc.PID() }

// Log is what the running broker printed.
func (b *Broker) Log() *Log { return b.proc.Stderr }

// Kill is kill -9: nothing is flushed, nobody is told.
func (b *Broker) Kill() { b.proc.Kill() }

// Restart starts a killed or stopped broker again with the same data on the
// same ports, and returns when it serves requests.
func (b *Broker) Restart(ctx context.Context) error {
	b.proc.Kill()
	return b.start(ctx)
}

// Shutdown ends the broker in order and keeps its data for [Broker.Restart].
func (b *Broker) Shutdown() error {
	_, err := b.proc.Stop(syscall.SIGTERM, 30*time.Second)
	return err
}

// Stop ends the broker and removes its folder if it is a temporary one. Its
// data is not wanted any more, so it is not asked to write it out.
func (b *Broker) Stop() error {
	if b.proc != nil {
		b.proc.Kill()
	}
	if b.proxy != nil {
		b.proxy.Close()
	}
	if b.ownsDir {
		return os.RemoveAll(b.dir)
	}
	return nil
}
