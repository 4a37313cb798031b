// Package codec turns the bytes of Kafka records and of state into values and
// back.
//
// A [Codec] is for the values of topics: [JSON], [Avro], [String], [Bytes] and
// [Int64]. A [StateType] is for the values of a store: Avro again, with what a
// store needs beside it, a schema to keep with the bytes and a way to read what
// older schemas wrote.
//
// Encoding is deterministic: equal values have equal bytes, so that a replay
// writes what the first run wrote. The exception is a map in [Avro] and
// [State], whose entries are in no order.
//
// Values and bytes that do not fit are errors, never panics, and errors say
// where: they are shown to the person who has to find the record.
package codec
