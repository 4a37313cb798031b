package config

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func jobFiles(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	for _, pattern := range []string{"testdata/broken/*.yaml", "testdata/jobs/*.yaml", "../examples/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
	}
	return out
}

// parse is Parse, and checks that its result is either a job or mistakes.
func parse(t *testing.T, src []byte) {
	t.Helper()
	j, err := Parse("f.yaml", src)
	if (j == nil) == (err == nil) || err != nil && !errors.Is(err, ErrInvalid) {
		t.Fatalf("%q: %v, %v", src, j, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range jobFiles(f) {
		f.Add(b)
	}
	f.Fuzz(parse)
}

// TestGarbage changes 1 % of the bytes of real files: it never panics, and says
// what is wrong.
func TestGarbage(t *testing.T) {
	const letters = "abz019 \n\t:#-{}[]\"'!&*|>?,%@`\\.\x00\xff"
	r := rand.New(rand.NewPCG(5, 5))
	for _, b := range jobFiles(t) {
		for range 10 {
			c := append([]byte(nil), b...)
			for range 1 + len(c)/100 {
				c[r.IntN(len(c))] = letters[r.IntN(len(letters))]
			}
			parse(t, c)
		}
	}
}
