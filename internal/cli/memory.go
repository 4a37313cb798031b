package cli

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/procd/procd/internal/control"
	"github.com/procd/procd/kstate"
)

// defaultMemory is the memory of a process unless the settings say otherwise.
const defaultMemory = 512 << 20

// minMemory is the least with which a process makes sense.
const minMemory = 64 << 20

// workerMemory is what a worker needs beside the caches: its fetch and produce
// buffers and the transaction it is in. It bounds the default number of
// workers, so that many cores do not eat a small budget.
const workerMemory = 64 << 20

// unseenShare is the share of the memory that neither a cache nor the Go runtime
// accounts for: the program itself, and what the C library keeps.
const unseenShare = 16

// budget is how the one number `memory:` is cut up (docs/commands.md): what is
// not given to a cache or to buffers is room for the garbage collector, which
// works against limit.
type budget struct {
	control.Memory
	limit int64 // of the Go runtime
}

func divide(memory int64) budget {
	b := budget{Memory: control.Memory{
		Total: memory, BlockCache: memory / 4, WriteBack: memory / 4, Fetch: memory / 8, Produce: memory / 8,
	}}
	b.Rest = memory - b.BlockCache - b.WriteBack - b.Fetch - b.Produce
	b.limit = memory - memory/unseenShare
	if cacheOutsideHeap {
		b.limit -= b.BlockCache
	}
	return b
}

// gcPercent is how much of what is live may be garbage beside it, where the
// limit leaves the room: a busy process collects half as often as with Go's
// default, which saves it 6 to 9 % of its CPU time (bench/README.md, count-10k).
const gcPercent = 200

// apply sets the runtime's limit and pace of collection, unless the environment
// did (GOMEMLIMIT, GOGC).
func (b budget) apply() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(b.limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// workers is the default number of workers: one per core, no more than there
// are tasks, nor than memory allows.
func workers(memory int64, tasks int) int {
	return max(1, min(runtime.GOMAXPROCS(0), tasks, int(memory/2/workerMemory)))
}

// filesPerProcess are the file descriptors that are left for all but tables.
const filesPerProcess = 200

// openFiles is how many table files the stores may keep open (S10).
func openFiles(log *slog.Logger) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("procd/cli: ask for the limit of open files: %w", err)
	}
	if limit.Cur >= kstate.DefaultMaxOpenFiles+filesPerProcess {
		return kstate.DefaultMaxOpenFiles, nil
	}
	log.Warn("few files may be open at once, state on disk will be slow; raise `ulimit -n`",
		"limit", limit.Cur, "wanted", kstate.DefaultMaxOpenFiles+filesPerProcess)
	return max(int(limit.Cur)/2, 16), nil
}
