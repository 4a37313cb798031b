// Package cluster says how to reach a Kafka cluster: addresses, TLS, SASL, and
// whether what answers can run procd.
//
// A [Config] holds resolved values: files and environment variables that name
// secrets are the config package's business. Secrets are of type [Secret],
// which no formatting verb prints.
package cluster
