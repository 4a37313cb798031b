// Package procd runs stateful stream processing jobs that are written in Go.
//
// A job is built with package topology; a main that ends with [Main] is a
// binary with the commands of the procd program, all about that job:
//
//	func main() {
//		job := topology.New("motion-alarm")
//		events := topology.From(job, "alarm-events", codec.JSON[Event](), topology.PartitionedBy(room))
//		alarms := topology.Process(events, "arm", alarm)
//		topology.To(alarms, "alarms", codec.JSON[Alarm]())
//		procd.Main(job)
//	}
//
//	./motion-alarm start --brokers kafka:9092
//	./motion-alarm status
//
// [Run] is for programs with a command line of their own.
package procd

import (
	"context"
	"os"

	"github.com/procd/procd/internal/cli"
	"github.com/procd/procd/topology"
)

// Main runs the command line of a job and exits. It does not return.
func Main(job *topology.Job) {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Standard(), job))
}
