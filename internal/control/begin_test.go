package control

import (
	"testing"
)

func TestBeginFirstStart(t *testing.T) {
	b := newBench(t)
	l := b.mustBegin(alarmJob("h1"), StartOptions{})
	if l.Generation.Generation != 1 || l.Revision != 0 || l.Run != 1 {
		t.Fatalf("lease %+v", l)
	}
	t.Log(b.keys())
}
