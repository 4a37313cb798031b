package main

import (
	"testing"

	motion "github.com/procd/procd/examples/motion-alarm"
	"github.com/procd/procd/examples/motion-alarm/internal/sametest"
)

func TestSameAsYAML(t *testing.T) { sametest.Check(t, job(), motion.V1) }
