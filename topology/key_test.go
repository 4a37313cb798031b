package topology

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The vectors of org.apache.kafka.common.utils.UtilsTest.
func TestMurmur2IsJava(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%s: %d, Java %d", key, got, want)
		}
	}
}

// Another implementation of each partitioner, over random keys.
func TestPartitionersAgree(t *testing.T) {
	java := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	sarama := kgo.StickyKeyPartitioner(kgo.SaramaCompatHasher(func(b []byte) uint32 {
		h := fnv.New32a()
		_, _ = h.Write(b)
		return h.Sum32()
	})).ForTopic("t")
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		key := make([]byte, rng.IntN(40))
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		n := 1 + rng.IntN(300)
		r := &kgo.Record{Key: key}
		if got, want := Murmur2.Partition(key, int32(n)), int32(java.Partition(r, n)); got != want {
			t.Fatalf("murmur2 %x of %d: %d, kgo %d", key, n, got, want)
		}
		if got, want := FNV.Partition(key, int32(n)), int32(sarama.Partition(r, n)); got != want {
			t.Fatalf("fnv %x of %d: %d, kgo %d", key, n, got, want)
		}
	}
	// The check value of CRC-32, unsigned before the remainder as librdkafka has it.
	if got := CRC32.Partition([]byte("123456789"), 1000); got != 0xCBF43926%1000 {
		t.Errorf("crc32: %d", got)
	}
	if Any.Partition([]byte("x"), 5) != -1 || Any.Valid() != true || Partitioner("md5").Valid() {
		t.Error("any, md5")
	}
}

type (
	roomID  int32
	country string
	flag    bool
	raw     []byte
)

func TestKeyText(t *testing.T) {
	checkKey(t, int8(-5), "-5", "int")
	checkKey(t, int16(-500), "-500", "int")
	checkKey(t, roomID(-70_000), "-70000", "int")
	checkKey(t, int64(-1<<63), "-9223372036854775808", "int")
	checkKey(t, 17, "17", "int")
	checkKey(t, uint(17), "17", "int")
	checkKey(t, uint8(200), "200", "int")
	checkKey(t, uint16(65535), "65535", "int")
	checkKey(t, uint32(1<<31), "2147483648", "int")
	checkKey(t, uint64(1<<63), "9223372036854775808", "int")
	checkKey(t, country("é"), "é", "string")
	checkKey(t, flag(true), "true", "bool")
	checkKey(t, false, "false", "bool")
	checkKey(t, raw("a\x00b"), "a\x00b", "bytes")
	checkKey(t, raw(nil), "", "bytes")
	checkKey(t, Composite("a", "", "bc"), "\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x02bc", "composite")
}

func checkKey[K Key](t *testing.T, k K, want, kind string) {
	t.Helper()
	if got := string(keyText[K]()([]byte("_"), &k)); got != "_"+want {
		t.Errorf("%T %v: %q, want %q", k, k, got, want)
	}
	if got := keyType[K](); got != kind {
		t.Errorf("%T: key type %s, want %s", k, got, kind)
	}
}

func TestCompositeKeysDiffer(t *testing.T) {
	if Composite("ab", "c") == Composite("a", "bc") || Composite("a") == Composite("a", "") {
		t.Error("two lists of parts have one key")
	}
	for _, k := range []CompositeKey{"a", "\x00\x00\x00\x02a", "\xff\xff\xff\xff"} {
		if parts, err := k.Parts(); err == nil {
			t.Errorf("%q: %q", k, parts)
		}
	}
}

func FuzzComposite(f *testing.F) {
	f.Add("a", "bc", []byte("\x00\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, a, b string, data []byte) {
		if parts, err := Composite(a, b).Parts(); err != nil || !slices.Equal(parts, []string{a, b}) {
			t.Fatalf("%q, %q became %q, %v", a, b, parts, err)
		}
		if got := AppendPart(AppendPart(nil, []byte(a)), b); string(got) != string(Composite(a, b)) {
			t.Fatalf("AppendPart: %q", got)
		}
		parts, err := CompositeKey(data).Parts()
		if err == nil && Composite(parts...) != CompositeKey(data) {
			t.Fatalf("%q has the parts %q", data, parts)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add(int64(-5), "topic", int32(7), int64(1<<40), []byte{1, 2, 3})
	f.Add(int64(0), "", int32(0), int64(0), AppendOrigin(nil, 1, "t", 2, 3))
	f.Fuzz(func(t *testing.T, time int64, topic string, partition int32, offset int64, data []byte) {
		if len(topic) <= 249 && partition >= 0 && offset >= 0 {
			o, err := ParseOrigin(AppendOrigin(nil, time, topic, partition, offset))
			if err != nil || o.Time != time || string(o.Topic) != topic || o.Partition != partition || o.Offset != offset {
				t.Fatalf("%d %q %d %d became %+v, %v", time, topic, partition, offset, o, err)
			}
		}
		o, err := ParseOrigin(data)
		if err == nil && (o.Partition < 0 || o.Offset < 0 || len(o.Topic) > 249) {
			t.Fatalf("%x: %+v", data, o)
		}
	})
}

func TestOriginDamaged(t *testing.T) {
	good := AppendOrigin(nil, 1_790_000_000_000, "alarm-events", 300, 1<<40)
	if _, err := ParseOrigin(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := ParseOrigin(good[:n]); err != ErrOrigin {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := ParseOrigin(append(good, 0)); err != ErrOrigin {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := ParseOrigin([]byte{2}); err != ErrOrigin {
		t.Errorf("version 2: %v", err)
	}
}
