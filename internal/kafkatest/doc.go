// Package kafkatest starts a real Apache Kafka and the procd binary as child
// processes, breaks both on purpose, and looks at what is left in the topics.
//
// What an engine does under kill -9, with zombies and with lost replies can
// only be judged by the broker that users run: an embedded one resolves
// transactions at once, and has no pending markers, no truncation and no
// session of its own. So everything in it/ runs against what this package
// starts.
//
// The order of use:
//
//  1. [Open] finds the broker of a test run: the environment variable
//     PROCD_IT_BROKERS, or else one from Maven Central ([StartBroker]), or else
//     [ErrUnavailable], which says what is missing.
//  2. [Connect] gives a [Cluster]: topics, records, lag, open transactions.
//  3. [Build] compiles the binary under test once per run, [Binary.Start] runs
//     it; its [Process] takes signals.
//  4. [Broker.Kill], [Broker.Restart] and the [Proxy] in front of a broker
//     started with [BrokerOptions.Proxied] make the faults.
//
// Each child dies with the process that started it, also when that process is
// killed, and is only ever signalled by its own process id.
package kafkatest
