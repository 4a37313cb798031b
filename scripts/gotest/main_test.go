package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const events = `
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"quiet\n"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"run","Package":"a","Test":"TestTwo"}
{"Action":"run","Package":"a","Test":"TestTwo/x"}
{"Action":"output","Package":"a","Test":"TestTwo/x","Output":"x is broken\n"}
{"Action":"fail","Package":"a","Test":"TestTwo/x"}
{"Action":"run","Package":"a","Test":"TestTwo/y"}
{"Action":"pass","Package":"a","Test":"TestTwo/y"}
{"Action":"fail","Package":"a","Test":"TestTwo"}
{"Action":"run","Package":"a","Test":"TestThree"}
{"Action":"output","Package":"a","Test":"TestThree","Output":"no Java\n"}
{"Action":"skip","Package":"a","Test":"TestThree"}
{"Action":"fail","Package":"a","Elapsed":1.25}
{"Action":"build-output","ImportPath":"b","Output":"b.go:1: no\n"}
{"Action":"build-fail","ImportPath":"b"}
{"Action":"fail","Package":"b"}
go: something else
`
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(strings.TrimSpace(events))); err != nil {
		t.Fatal(err)
	}
	if got, want := r.summary(), "2 passed, 2 failed, 1 skipped"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	want := "x is broken\nno Java\nfail\ta\t1.2s\nb.go:1: no\nfail\tb\t0.0s\ngo: something else\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", &out, want)
	}
}
