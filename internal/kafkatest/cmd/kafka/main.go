// Command kafka starts an Apache Kafka for work on procd, prints its address
// on one line and runs until it is interrupted. Its data goes with it.
//
//	go run ./internal/kafkatest/cmd/kafka [-proxied]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/procd/procd/internal/kafkatest"
)

func main() {
	proxied := flag.Bool("proxied", false, "add a listener behind a proxy, and print its address on a second line")
	flag.Parse()
	if err := run(*proxied); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(proxied bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := kafkatest.StartBroker(ctx, kafkatest.BrokerOptions{Proxied: proxied})
	if err != nil {
		return err
	}
	fmt.Println(b.Addr())
	if proxied {
		fmt.Println(b.Proxy().Addr())
	}
	<-ctx.Done()
	return b.Stop()
}
