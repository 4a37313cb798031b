package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// members makes claims from text: "a: 0/1 0/2 | warm 0/3 | epoch 4".
func claimOf(t *testing.T, text string) claim {
	t.Helper()
	id, rest, _ := strings.Cut(text, ":")
	c := claim{id: id, epoch: 1, owned: map[taskRef]struct{}{}, warm: map[taskRef]struct{}{}}
	for i, part := range strings.Split(rest, "|") {
		into := c.owned
		fields := strings.Fields(part)
		if i > 0 && len(fields) > 0 && fields[0] == "epoch" {
			if _, err := fmt.Sscan(fields[1], &c.epoch); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if i > 0 && len(fields) > 0 && fields[0] == "warm" {
			into, fields = c.warm, fields[1:]
		}
		for _, f := range fields {
			var ref taskRef
			if _, err := fmt.Sscanf(f, "%d/%d", &ref.stage, &ref.partition); err != nil {
				t.Fatalf("%q: %v", f, err)
			}
			into[ref] = struct{}{}
		}
	}
	return c
}

func planText(members []claim, plan [][]taskRef) string {
	var b strings.Builder
	for m, c := range members {
		fmt.Fprintf(&b, "%s:", c.id)
		for _, t := range plan[m] {
			fmt.Fprintf(&b, " %d/%d", t.stage, t.partition)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestBalance(t *testing.T) {
	for _, c := range []struct {
		name       string
		partitions []int32
		members    []string
		want       string
		moving     bool
	}{
		{"one member takes all", []int32{2, 1}, []string{"a:"}, "a: 0/0 0/1 1/0\n", false},
		{"new members share each stage", []int32{4, 2}, []string{"a:", "b:"}, "a: 0/0 0/2 1/0\nb: 0/1 0/3 1/1\n", false},
		{"who has a task keeps it", []int32{4}, []string{"a: 0/2 0/3", "b: 0/0 0/1"}, "a: 0/2 0/3\nb: 0/0 0/1\n", false},
		{"a newcomer gets its share in the next round", []int32{4}, []string{"a: 0/0 0/1 0/2 0/3", "b:"}, "a: 0/0 0/1\nb:\n", true},
		{"the newcomer gets what it has on disk", []int32{4}, []string{"a: 0/0 0/1 0/2 0/3", "b: | warm 0/0 0/1"}, "a: 0/2 0/3\nb:\n", true},
		{"what nobody claims any more goes to who has it on disk", []int32{4}, []string{"a: 0/0", "b: 0/1 | warm 0/2 0/3", "c: | warm 0/3"}, "a: 0/0\nb: 0/1 0/2\nc: 0/3\n", false},
		{"the newest claim counts, and a stale one holds the task back", []int32{2}, []string{"a: 0/0 0/1 | epoch 3", "b: 0/1 | epoch 5"}, "a: 0/0\nb:\n", true},
		{"odd tasks of several stages are spread", []int32{1, 1, 1}, []string{"a:", "b:", "c:"}, "a: 0/0\nb: 1/0\nc: 2/0\n", false},
		{"more members than tasks", []int32{1}, []string{"a:", "b: 0/0"}, "a:\nb: 0/0\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var members []claim
			for _, m := range c.members {
				members = append(members, claimOf(t, m))
			}
			plan := balance(c.partitions, members)
			moving := withholdMoving(members, plan)
			if got := planText(members, plan); got != c.want || moving != c.moving {
				t.Errorf("got\n%smoving %v, want\n%smoving %v", got, moving, c.want, c.moving)
			}
		})
	}
}

// TestBalanceConverges joins and removes members at random and checks that, once
// nobody claims what others have, each task has one owner, each stage is spread
// evenly, and another round moves nothing.
func TestBalanceConverges(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		partitions := make([]int32, 1+rng.IntN(3))
		for i := range partitions {
			partitions[i] = int32(1 + rng.IntN(9))
		}
		members := []claim{{id: "m0"}}
		for change := range 10 {
			if rng.IntN(2) == 0 || len(members) == 1 {
				members = append(members, claim{id: fmt.Sprintf("n%d", change)})
			} else {
				i := rng.IntN(len(members))
				members = slices.Delete(members, i, i+1)
			}
			for round := 0; ; round++ {
				plan := balance(partitions, members)
				moving := withholdMoving(members, plan)
				for m := range members {
					members[m].owned = map[taskRef]struct{}{}
					for _, ref := range plan[m] {
						members[m].owned[ref] = struct{}{}
					}
					members[m].epoch++
				}
				if !moving {
					break
				}
				if round > 2 {
					t.Fatalf("seed %d: still moving after %d rounds", seed, round)
				}
			}
			checkSpread(t, seed, partitions, members)
		}
	}
}

func checkSpread(t *testing.T, seed uint64, partitions []int32, members []claim) {
	t.Helper()
	for stage, n := range partitions {
		least, most, all := int(n), 0, 0
		for _, m := range members {
			has := 0
			for ref := range m.owned {
				if ref.stage == stage {
					has++
				}
			}
			least, most, all = min(least, has), max(most, has), all+has
		}
		if all != int(n) || most-least > 1 {
			t.Fatalf("seed %d: stage %d has %d tasks, %d are owned, shares from %d to %d", seed, stage, n, all, least, most)
		}
	}
}
