package engine

import (
	"cmp"
	"slices"
)

// taskRef names a task: a stage, by its index in the plan, and a partition.
type taskRef struct {
	stage     int
	partition int32
}

func compareTasks(a, b taskRef) int {
	return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.partition, b.partition))
}

// claim is what one group member tells the balancer about itself.
type claim struct {
	id    string
	epoch int32                // the group epoch in which it last knew what it owned
	owned map[taskRef]struct{} // tasks it may still be running
	warm  map[taskRef]struct{} // tasks whose state lies on its disk
}

// balance assigns every task of every stage to a member. It spreads each stage
// evenly (the members' shares of one stage differ by one at most), moves as few
// tasks as that allows, and gives a task that has to move to a member that
// holds its state on disk, if there is one. The result is the same for the same
// claims in the same order.
func balance(partitions []int32, members []claim) [][]taskRef {
	plan := make([][]taskRef, len(members))
	if len(members) == 0 {
		return plan
	}
	for stage, n := range partitions {
		balanceStage(stage, n, members, plan)
	}
	return plan
}

// balanceStage adds the tasks of one stage to plan.
func balanceStage(stage int, n int32, members []claim, plan [][]taskRef) {
	held, free := currentOwners(stage, n, members)
	quota := quotas(int(n), held, warmAmong(free, members), plan)
	for m := range members {
		surplus := len(held[m]) - quota[m]
		if surplus <= 0 {
			continue
		}
		// What leaves first is what somebody else has on disk, then the
		// highest partitions.
		slices.SortStableFunc(held[m], func(a, b taskRef) int {
			return cmp.Or(cmp.Compare(warmElsewhere(a, m, members), warmElsewhere(b, m, members)), compareTasks(a, b))
		})
		keep := len(held[m]) - surplus
		free = append(free, held[m][keep:]...)
		held[m] = held[m][:keep]
	}
	slices.SortFunc(free, compareTasks)
	free = placeFree(free, members, held, quota, true)
	placeFree(free, members, held, quota, false)
	for m := range members {
		slices.SortFunc(held[m], compareTasks)
		plan[m] = append(plan[m], held[m]...)
	}
}

// currentOwners gives each task of the stage to the member that claims it in
// the newest group epoch, and lists the tasks nobody claims.
func currentOwners(stage int, n int32, members []claim) (held [][]taskRef, free []taskRef) {
	held = make([][]taskRef, len(members))
	for p := range n {
		t := taskRef{stage, p}
		owner := -1
		for m, c := range members {
			if _, ok := c.owned[t]; ok && (owner < 0 || c.epoch > members[owner].epoch) {
				owner = m
			}
		}
		if owner < 0 {
			free = append(free, t)
		} else {
			held[owner] = append(held[owner], t)
		}
	}
	return held, free
}

// warmAmong counts the tasks that each member has on disk.
func warmAmong(tasks []taskRef, members []claim) []int {
	n := make([]int, len(members))
	for m, c := range members {
		for _, t := range tasks {
			if _, ok := c.warm[t]; ok {
				n[m]++
			}
		}
	}
	return n
}

// quotas says how many of n tasks each member gets. Those that hold most get
// the odd ones; among equals those with most of the free tasks on disk, then
// those with the fewest tasks so far.
func quotas(n int, held [][]taskRef, warm []int, plan [][]taskRef) []int {
	order := make([]int, len(held))
	for m := range order {
		order[m] = m
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(len(held[b]), len(held[a])), cmp.Compare(warm[b], warm[a]), cmp.Compare(len(plan[a]), len(plan[b])))
	})
	quota := make([]int, len(held))
	for i, m := range order {
		quota[m] = n / len(held)
		if i < n%len(held) {
			quota[m]++
		}
	}
	return quota
}

func warmElsewhere(t taskRef, m int, members []claim) int {
	for o, c := range members {
		if _, ok := c.warm[t]; ok && o != m {
			return 1
		}
	}
	return 0
}

// placeFree hands out free tasks to members below their quota and returns what
// it did not place: with warmOnly, the tasks nobody with room has on disk.
func placeFree(free []taskRef, members []claim, held [][]taskRef, quota []int, warmOnly bool) (left []taskRef) {
	for _, t := range free {
		best := -1
		for m, c := range members {
			_, warm := c.warm[t]
			if len(held[m]) >= quota[m] || warmOnly && !warm {
				continue
			}
			if best < 0 || len(held[m])-quota[m] < len(held[best])-quota[best] {
				best = m
			}
		}
		if best < 0 {
			left = append(left, t)
			continue
		}
		held[best] = append(held[best], t)
	}
	return left
}

// withholdMoving takes out of plan every task that some other member may still
// be running: it is given up in this round and handed out in the next, so that
// it is never run twice. It reports whether there were any.
func withholdMoving(members []claim, plan [][]taskRef) (moving bool) {
	for m := range plan {
		plan[m] = slices.DeleteFunc(plan[m], func(t taskRef) bool {
			for o, c := range members {
				if _, claimed := c.owned[t]; claimed && o != m {
					moving = true
					return true
				}
			}
			return false
		})
	}
	return moving
}
