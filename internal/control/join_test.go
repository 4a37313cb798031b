package control

import (
	"testing"
	"time"
)

func TestMayLag(t *testing.T) {
	g := Generation{Sources: []TopicRef{{Name: "in", ID: TopicID{1}}}, Topics: []TopicRef{{Name: "a", ID: TopicID{2}}, {Name: "b", ID: TopicID{3}}}}
	for _, c := range []struct {
		what     string
		in, a, b byte // ids of those that are found; 0: it is not
		want     time.Duration
	}{
		{"as they were", 1, 2, 3, 0},
		{"another source of that name", 9, 2, 3, 0},
		{"no source", 0, 2, 3, settleTime},
		{"an internal topic is missing", 1, 0, 3, settleTime},
		{"an internal topic is another one", 1, 9, 3, remadeTime},
		{"one is missing, one another", 0, 0, 9, remadeTime},
	} {
		found := map[string]foundTopic{}
		for name, id := range map[string]byte{"in": c.in, "a": c.a, "b": c.b} {
			if id != 0 {
				found[name] = foundTopic{ID: TopicID{id}}
			}
		}
		if got := mayLag(g, found); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
