// Procd runs stateful stream processing jobs next to Kafka: docs/commands.md.
package main

import (
	"context"
	"os"

	"github.com/procd/procd/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Standard(), nil))
}
