//go:build race

package main

// raced: the race detector makes sync.Pool forget at random, so that counts of
// allocations mean nothing.
const raced = true
