package topology

import "encoding/binary"

// Origin is the header "procd" of a repartition record: where the record it
// came from is in the source topic, and its event time (P10). Version 1 is,
// in this order: the byte 1, the event time as a zigzag varint, the length of
// the topic's name as a varint, the name, partition and offset as varints.
type Origin struct {
	Time      int64 // event time, epoch milliseconds
	Topic     []byte
	Partition int32
	Offset    int64
}

const originVersion = 1

// AppendOrigin appends the header's bytes to dst.
func AppendOrigin(dst []byte, time int64, topic string, partition int32, offset int64) []byte {
	dst = append(dst, originVersion)
	dst = binary.AppendVarint(dst, time)
	dst = binary.AppendUvarint(dst, uint64(len(topic)))
	dst = append(dst, topic...)
	dst = binary.AppendUvarint(dst, uint64(partition))
	return binary.AppendUvarint(dst, uint64(offset))
}

// ParseOrigin reads the header's bytes; Topic points into them. An error is
// [ErrOrigin].
func ParseOrigin(b []byte) (o Origin, err error) {
	if len(b) == 0 || b[0] != originVersion {
		return o, ErrOrigin
	}
	b = b[1:]
	var n int
	if o.Time, n = binary.Varint(b); n <= 0 {
		return o, ErrOrigin
	}
	size, b, ok := cutUvarint(b[n:], 249) // Kafka's limit for topic names
	if !ok || size > uint64(len(b)) {
		return o, ErrOrigin
	}
	o.Topic, b = b[:size], b[size:]
	partition, b, ok := cutUvarint(b, 1<<31-1)
	if !ok {
		return o, ErrOrigin
	}
	offset, b, ok := cutUvarint(b, 1<<63-1)
	if !ok || len(b) != 0 {
		return o, ErrOrigin
	}
	o.Partition, o.Offset = int32(partition), int64(offset)
	return o, nil
}

func cutUvarint(b []byte, most uint64) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > most {
		return 0, b, false
	}
	return v, b[n:], true
}
