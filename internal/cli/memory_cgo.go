//go:build cgo

package cli

// cacheOutsideHeap says that Pebble takes its block cache from the C library,
// where the Go runtime's limit does not see it.
const cacheOutsideHeap = true
