package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/procd/procd/internal/cluster"
)

func TestSettings(t *testing.T) {
	t.Setenv("PROCD_USER", "alice")
	t.Setenv("PROCD_EVIL", "x}\nadmin: off")
	s, err := ParseSettings("testdata/settings/procd.yaml", []byte(`
brokers: [a:9092, "${PROCD_BROKER:-b:9092}"]
client-id: "${PROCD_EVIL}"
tls: {ca: ca.pem, server-name: kafka}
sasl: {mechanism: SCRAM-SHA-512, username: "${PROCD_USER}", password: "${file:password}"}
memory: 1.5GiB
workers: 3
data: /data
savepoint-dir: /savepoints
admin: off
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		Cluster: cluster.Config{
			Brokers: []string{"a:9092", "b:9092"}, ClientID: "x}\nadmin: off",
			TLS:  &cluster.TLS{CAFile: "ca.pem", ServerName: "kafka"},
			SASL: &cluster.SASL{Mechanism: cluster.Scram512, User: "alice", Password: "s3cret"},
		},
		Memory: 3 << 29, Workers: 3, Data: "/data", SavepointDir: "/savepoints", Admin: "off",
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v\nwant %+v", s, want)
	}
	if s, err = ParseSettings("p.yaml", []byte("brokers: a:1, b:2\n")); err != nil || len(s.Cluster.Brokers) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestBrokenSettings(t *testing.T) {
	t.Setenv("PROCD_PASSWORD", "hunter2")
	_, err := ParseSettings("procd.yaml", []byte(`
broker: x
tls: {cert: c.pem, skip-verify: maybe}
sasl: {mechanism: scram, password: "${PROCD_PASSWORD}"}
memory: lots
workers: 0
data: ${PROCD_NOT_THERE}
`))
	if err == nil {
		t.Fatal("no mistake found")
	}
	golden(t, "testdata/settings/broken.txt", err.Error()+"\n")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a secret is in the message")
	}
}
