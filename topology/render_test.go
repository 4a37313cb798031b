package topology_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

// The pictures are read in review; go test -rewrite makes them.
func TestRender(t *testing.T) {
	p := mustPlan(t, tallyJob())
	for name, got := range map[string]string{"tally.txt": p.Text(), "tally.mmd": p.Mermaid(), "tally.dot": p.Dot()} {
		path := filepath.Join("testdata", name)
		if *rewrite {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}
