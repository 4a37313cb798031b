package kafkatest

import "errors"

var (
	// ErrUnavailable says that this machine cannot run a broker: no
	// PROCD_IT_BROKERS, and no Java or no Maven. The text around it names
	// what is missing.
	ErrUnavailable = errors.New("procd/kafkatest: no Apache Kafka to test against")

	// ErrExited says that a child process ended before it was ready.
	ErrExited = errors.New("procd/kafkatest: the process ended early")
)
