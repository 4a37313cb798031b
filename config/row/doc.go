// Package row holds the records of jobs written in YAML: their types, their
// values in typed slots, and their bytes as JSON, Avro and text.
//
// A [Frame] is the memory of one task: the slots of every field that its part
// of the job ever names. A source fills some of them, steps read and fill
// others, an output writes some of them. Nothing in it outlives the record at
// hand: strings point into the record's bytes or into the frame's arena. What
// is kept is packed first, see [State].
//
// The order of calls for one record:
//
//  1. [Frame.Begin], which [Decoder.Decode] calls itself,
//  2. any reads and writes of slots,
//  3. [Encoder.Append], [Packer.Pack] and the like, any number of times.
//
// A Frame belongs to one goroutine.
package row
