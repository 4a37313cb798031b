package cli

import (
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// flags are those that every command has.
type flags struct {
	brokers       string
	bootstrap     string
	config        string
	commandConfig string
	data          string
	savepointDir  string
	admin         string
	timeout       time.Duration
	json          bool
	verbose       bool
}

func (f *flags) add(set *pflag.FlagSet) {
	set.SortFlags = false
	set.StringVar(&f.brokers, "brokers", "", "brokers, host:port,... (default $PROCD_BROKERS, else 127.0.0.1:9092)")
	set.StringVar(&f.bootstrap, "bootstrap-server", "", "the same as --brokers")
	set.StringVar(&f.config, "config", "", "settings file: TLS, SASL, memory, workers, ...")
	set.StringVar(&f.commandConfig, "command-config", "", "TLS and SASL from a Java client.properties")
	set.StringVar(&f.data, "data", "", "directory of seats and local state (default ./procd-data)")
	set.StringVar(&f.savepointDir, "savepoint-dir", "", "directory of savepoints (default ./savepoints)")
	set.StringVar(&f.admin, "admin", "", "address of /metrics, /livez and /readyz (default 127.0.0.1:9870), or off")
	set.DurationVar(&f.timeout, "timeout", defaultTimeout, "how long a command waits; start, dev and demo do not end by it")
	set.BoolVar(&f.json, "json", false, "print the result as JSON")
	set.BoolVarP(&f.verbose, "verbose", "v", false, "log more")
}

// brokerList is what the flags or the environment say, nil if nothing.
func (f *flags) brokerList() []string {
	for _, list := range []string{f.brokers, f.bootstrap, os.Getenv("PROCD_BROKERS")} {
		if list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// whoAmI is user@host: who asked, recorded with every decision.
func whoAmI() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}
