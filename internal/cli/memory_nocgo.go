//go:build !cgo

package cli

// cacheOutsideHeap: without cgo Pebble's block cache is on the Go heap.
const cacheOutsideHeap = false
