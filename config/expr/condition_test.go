package expr

import "testing"

func TestCondition(t *testing.T) {
	row := map[string]any{"key": int64(7), "value": map[string]any{"active": true, "since": int64(1 << 60), "name": "kitchen", "never": nil}}
	for source, want := range map[string]string{
		"true":                                "holds",
		"key == 7 && value.active":            "holds",
		"value.since > ms('10s')":             "holds",
		"value.name.startsWith('kit')":        "holds",
		"value.never == null":                 "holds",
		"value.active == false":               "no",
		"value.never > 5":                     "evaluation",
		"value.absent":                        "evaluation",
		"value.name":                          "evaluation",
		"key + 1":                             "compile",
		"'text'":                              "compile",
		"value.active &&":                     "compile",
		"other > 1":                           "compile",
		"key / 0 == 1":                        "evaluation",
		"'ab'.matches('(')":                   "evaluation",
		"[1, 2].exists(x, x == key - 5)":      "holds",
		"{'a': 1}.map(k, k) == ['a'] && true": "holds",
	} {
		got := "holds"
		c, err := NewCondition(source, "key", "value")
		if err != nil {
			got = "compile"
		} else if holds, err := c.Holds(row); err != nil {
			got = "evaluation"
		} else if !holds {
			got = "no"
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", source, got, want, err)
		}
	}
}
