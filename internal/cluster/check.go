package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReachTimeout is how long [Check] looks for a broker that answers.
const ReachTimeout = 10 * time.Second

// requiredTransactions is the level of transaction.version from which a
// broker tells a delayed request of one transaction from the next one (T3).
const requiredTransactions = 2

// Check asks the first broker that answers, within [ReachTimeout], whether it
// can run procd. The error is [ErrUnreachable], naming the brokers tried and
// what each said, or [ErrOldTransactions]; with AllowOldTransactions the
// latter becomes a warning. cl must have been made from c.
func Check(ctx context.Context, cl *kgo.Client, c Config) (warning string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ReachTimeout)
	defer cancel()
	resp, err := ask(ctx, cl, c)
	if err != nil {
		return "", err
	}
	level := transactionVersion(resp)
	if level >= requiredTransactions {
		return "", nil
	}
	err = fmt.Errorf("%w (it is %d): a delayed request can join the next transaction; "+
		"finalize it with kafka-features.sh upgrade --feature transaction.version=2 (Kafka 4.0 or newer)", ErrOldTransactions, level)
	if c.AllowOldTransactions {
		return err.Error() + "; going on because of allow-old-transactions", nil
	}
	return "", fmt.Errorf("%w, or accept the risk with allow-old-transactions", err)
}

// ask tries each broker once, in the order given. kgo's own retries are not
// used: who starts procd wants to hear soon that the address is wrong.
func ask(ctx context.Context, cl *kgo.Client, c Config) (*kmsg.ApiVersionsResponse, error) {
	var failures []string
	seeds := c.seeds()
	for i, broker := range cl.SeedBrokers() {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "procd", "1"
		resp, err := req.RequestWith(ctx, broker)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			return resp, nil
		}
		failures = append(failures, fmt.Sprintf("%s: %v", seeds[i], reason(ctx, err)))
	}
	return nil, fmt.Errorf("%w: tried %s", ErrUnreachable, strings.Join(failures, "; "))
}

// reason replaces what a deadline looks like from inside by what it means.
func reason(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", ReachTimeout)
	}
	return err
}

func transactionVersion(resp *kmsg.ApiVersionsResponse) int16 {
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel
		}
	}
	return 0
}
