package conformance

import "testing"

// A case comes after cases that there are, and never after itself.
func TestCasesComeInAnOrder(t *testing.T) {
	all := map[string]testCase{}
	for _, c := range cases() {
		all[c.id] = c
	}
	var walk func(id string, path map[string]bool)
	walk = func(id string, path map[string]bool) {
		c, ok := all[id]
		switch {
		case !ok:
			t.Fatalf("there is no case %s, and others come after it", id)
		case path[id]:
			t.Fatalf("case %s comes after itself", id)
		case c.look == "" || c.run == nil || c.group == "":
			t.Errorf("case %s lacks a group, a place to look at, or what it does", id)
		}
		path[id] = true
		for _, before := range c.after {
			walk(before, path)
		}
		delete(path, id)
	}
	for id := range all {
		walk(id, map[string]bool{})
	}
}
