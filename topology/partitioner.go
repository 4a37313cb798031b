package topology

import (
	"encoding/binary"
	"hash/crc32"
)

// Partitioner says how a producer chooses the partition of a key.
type Partitioner string

const (
	// Murmur2 is the Java client's, and the default of procd.
	Murmur2 Partitioner = "murmur2"
	// CRC32 is librdkafka's "consistent", its default.
	CRC32 Partitioner = "crc32"
	// FNV is sarama's hash partitioner.
	FNV Partitioner = "fnv"
	// Any checks nothing. State read from such a topic cannot be
	// re-partitioned offline, and joins and tables refuse it (P24).
	Any Partitioner = "any"
)

// Valid says whether p is one of the partitioners above.
func (p Partitioner) Valid() bool {
	switch p {
	case Murmur2, CRC32, FNV, Any:
		return true
	}
	return false
}

// Partition returns the partition of key among n, or -1 for [Any].
func (p Partitioner) Partition(key []byte, n int32) int32 {
	switch p {
	case Murmur2:
		return int32(murmur2(key)&0x7fffffff) % n
	case CRC32:
		return int32(crc32.ChecksumIEEE(key) % uint32(n))
	case FNV:
		return fnvPartition(key, n)
	}
	return -1
}

// fnvPartition is FNV-1a, then sarama's sign handling, which differs from
// Java's: the remainder is taken first, then its absolute value.
func fnvPartition(key []byte, n int32) int32 {
	h := uint32(2166136261)
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	p := int32(h) % n
	if p < 0 {
		p = -p
	}
	return p
}

// murmur2 is org.apache.kafka.common.utils.Utils.murmur2.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b))
	for len(b) >= 4 {
		k := binary.LittleEndian.Uint32(b)
		b = b[4:]
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
