package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/procd/procd/bench/peer/java"
)

// javaPeer is a peer whose program is one class in peer/java. What it is given
// are the same arguments as the bare loop's, and more.
func javaPeer(name, dir, class string, jvm []string, more ...string) *engine {
	var classPath string
	return &engine{
		name: name,
		prepare: func(ctx context.Context) (err error) {
			classPath, err = java.Build(ctx, dir)
			if errors.Is(err, java.ErrUnavailable) {
				return fmt.Errorf("%w: %w", errUnavailable, err)
			}
			return err
		},
		command: func(r *run) []string {
			command := append([]string{"java"}, jvm...)
			command = append(command, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classPath, class,
				"-brokers", r.brokers, "-kind", r.w.kind, "-group", r.job, "-in", r.in, "-out", r.out,
				"-dir", r.state(), "-commit", fmt.Sprint(r.commit.Milliseconds()))
			return append(command, more...)
		},
		group: func(job string) string { return job },
		// All of its output is committed by then, and it would take long to end.
		stop: syscall.SIGKILL,
	}
}

var (
	streamsEngine = javaPeer("streams", "streams", "StreamsPeer", []string{"-Xmx1g"})
	flinkRocksDB  = javaPeer("flink", "flink", "FlinkPeer", flinkJVM, "-backend", "rocksdb")
	flinkHeap     = javaPeer("flink-heap", "flink", "FlinkPeer", flinkJVM, "-backend", "hashmap")
)

// flinkJVM is what Flink's own start scripts open to its serializers.
var flinkJVM = []string{
	"-Xmx1536m",
	"--add-opens=java.base/java.lang=ALL-UNNAMED",
	"--add-opens=java.base/java.util=ALL-UNNAMED",
	"--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
	"--add-opens=java.base/java.time=ALL-UNNAMED",
	"--add-opens=java.base/java.net=ALL-UNNAMED",
	"--add-opens=java.base/java.io=ALL-UNNAMED",
	"--add-opens=java.base/java.nio=ALL-UNNAMED",
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
}
