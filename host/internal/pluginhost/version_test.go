package pluginhost

import "testing"

func TestVersionsAreOrdered(t *testing.T) {
	ascending := []string{"0.9.9", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			va, errA := parseVersion(a)
			vb, errB := parseVersion(b)
			if errA != nil || errB != nil {
				t.Fatalf("parse %s, %s: %v, %v", a, b, errA, errB)
			}
			if got := va.compare(vb); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("compare(%s, %s) = %d, want the sign of %d", a, b, got, i-j)
			}
		}
	}
	for _, bad := range []string{"", "1", "1.2", "1.2.x", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-a..b", "v1.2.3", "-1.2.3", "1.2.3.4"} {
		if _, err := parseVersion(bad); err == nil {
			t.Errorf("parseVersion(%q) = nil, want an error", bad)
		}
	}
}

func TestConstraints(t *testing.T) {
	for constraint, versions := range map[string]map[string]bool{
		"":       {"1.0.0": true},
		"1.2.0":  {"1.2.0": true, "1.2.1": false, "1.2.0+build": true},
		"^1.2":   {"1.2.0": true, "1.9.0": true, "1.1.9": false, "2.0.0": false, "1.3.0-rc.1": false},
		"^0.2":   {"0.2.7": true, "0.3.0": false},
		"~1.2":   {"1.2.9": true, "1.3.0": false},
		"^1":     {"1.0.0": true, "1.5.0": true, "0.9.0": false},
		"~1.2.3": {"1.2.3": true, "1.2.2": false},
	} {
		for text, want := range versions {
			v, err := parseVersion(text)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := allows(constraint, v); got != want || err != nil {
				t.Errorf("allows(%q, %s) = %v, %v, want %v", constraint, text, got, err, want)
			}
		}
	}
	for _, bad := range []string{"1.2", "latest", "^^1.2.0", "^", ">=1.0.0"} {
		if _, err := allows(bad, version{}); err == nil {
			t.Errorf("allows(%q) = nil, want an error", bad)
		}
	}
}
