// Package it tests the procd binary against a real Apache Kafka, as users run
// both: separate processes, killed, paused, cut off and restarted, while a
// reader reads. What comes out is compared with an independent model of the
// job, record for record.
//
// The broker is that of PROCD_IT_BROKERS, or one from Maven Central; tests that
// break their broker always start their own. Without Java and Maven the tests
// are skipped, unless PROCD_IT=require. Environment variables:
//
//	PROCD_IT_BROKERS  host:port[,host:port]: use this Kafka
//	PROCD_IT=require  a test that cannot run fails
//	PROCD_IT_LONG     the soaks take their full time
//	PROCD_IT_BINARY   test this procd instead of building one
//	PROCD_IT_RACE     the binary is built with the race detector
//	PROCD_IT_SEED     the seed of faults and events, as a failed test prints it
package it
