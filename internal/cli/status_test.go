package cli

import (
	"strings"
	"testing"

	"github.com/procd/procd/internal/control"
)

// Processes that divide their memory alike share a line; one of before that was
// told says nothing.
func TestPrintMemory(t *testing.T) {
	of := func(seat string, memory int64) control.ProcessStatus {
		p := control.ProcessStatus{Process: control.Process{Seat: seat}}
		if memory > 0 {
			m := divide(memory).Memory
			p.Memory = &m
		}
		return p
	}
	var out strings.Builder
	printMemory(&out, []control.ProcessStatus{of("aaaa", 512<<20), of("bbbb", 128<<20), of("cccc", 512<<20), of("dddd", 0)})
	const want = `memory of aaaa, cccc: 512 MiB = block cache 128, write-back 128, fetch 64, produce 64, rest 128
memory of bbbb: 128 MiB = block cache 32, write-back 32, fetch 16, produce 16, rest 32
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
