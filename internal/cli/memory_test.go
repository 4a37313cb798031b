package cli

import (
	"runtime"
	"testing"
)

func TestDivide(t *testing.T) {
	for _, memory := range []int64{minMemory, defaultMemory, 8 << 30} {
		b := divide(memory)
		if b.Total != memory || b.BlockCache+b.WriteBack+b.Fetch+b.Produce+b.Rest != memory {
			t.Errorf("%d: the parts of %+v are not the whole", memory, b.Memory)
		}
		if b.Rest < memory/5 {
			t.Errorf("%d: only %d are left for the garbage collector", memory, b.Rest)
		}
		// What the Go runtime does not see must not come on top.
		outside := int64(0)
		if cacheOutsideHeap {
			outside = b.BlockCache
		}
		if b.limit+outside >= memory || b.limit+outside < memory*9/10 {
			t.Errorf("%d: limit %d and %d outside of the heap", memory, b.limit, outside)
		}
	}
}

func TestWorkers(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	for _, test := range []struct {
		memory int64
		tasks  int
		want   int
	}{
		{8 << 30, 1000, cores},
		{8 << 30, 1, 1},
		{minMemory, 1000, 1},
		{256 << 20, 1000, min(cores, 2)},
		{defaultMemory, 0, 1},
	} {
		if got := workers(test.memory, test.tasks); got != test.want {
			t.Errorf("workers(%d, %d) = %d, want %d", test.memory, test.tasks, got, test.want)
		}
	}
}
