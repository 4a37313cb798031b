package cluster

import "errors"

var (
	// ErrUnreachable says that no broker answered in time.
	ErrUnreachable = errors.New("procd/cluster: no broker answers")
	// ErrOldTransactions says that the cluster's transaction.version is below
	// 2, where a delayed request of one transaction can join the next (T3).
	ErrOldTransactions = errors.New("procd/cluster: transaction.version is below 2")
	// ErrConfig says that the settings contradict each other or name
	// something that does not exist.
	ErrConfig = errors.New("procd/cluster: invalid connection settings")
)
