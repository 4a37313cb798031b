package savepoint

import (
	"encoding/binary"
	"testing"

	"github.com/procd/procd/kstate"
)

// BenchmarkCopyPart copies a store of 500,000 rows: hashing, syncing and
// counting rows.
func BenchmarkCopyPart(b *testing.B) {
	c := benchCheckpoint(b)
	l, err := OpenLocation(b.TempDir())
	must(b, err)
	defer func() { must(b, l.Close()) }()
	for b.Loop() {
		a, err := l.Begin(testID, 1, testToken)
		must(b, err)
		part, err := a.CopyPart(b.Context(), c)
		must(b, err)
		b.SetBytes(part.Bytes())
		b.StopTimer()
		must(b, a.Abort())
		b.StartTimer()
	}
}

func benchCheckpoint(b *testing.B) Checkpoint {
	b.Helper()
	s := newTestStore(b, "arm", 0, armV2)
	rows := make([]row, 500_000)
	for i := range rows {
		x := uint64(i+1) * 0x9e3779b97f4a7c15
		rows[i] = row{string(binary.BigEndian.AppendUint64(nil, x)), 1, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{1}, x*x), x*x*x)}
	}
	s.write([]kstate.SourceOffset{{Topic: "in", Offset: 1}}, rows...)
	return s.last
}
