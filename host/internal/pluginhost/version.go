package pluginhost

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// version is a semantic version; build metadata is dropped.
type version struct {
	major, minor, patch uint64
	pre                 []string // identifiers of a pre-release
}

func parseVersion(s string) (version, error) {
	bad := fmt.Errorf("%q is not a semantic version such as 1.2.0", s)
	core, build, hasBuild := strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(core, "-")
	parts := strings.Split(core, ".")
	if len(parts) != 3 || hasBuild && build == "" {
		return version{}, bad
	}
	var v version
	for i, number := range []*uint64{&v.major, &v.minor, &v.patch} {
		var err error
		if *number, err = strconv.ParseUint(parts[i], 10, 64); err != nil || len(parts[i]) > 1 && parts[i][0] == '0' {
			return version{}, bad
		}
	}
	if hasPre {
		v.pre = strings.Split(pre, ".")
		for _, identifier := range v.pre {
			if identifier == "" {
				return version{}, bad
			}
		}
	}
	return v, nil
}

// compare orders versions by precedence (semver.org §11).
func (v version) compare(w version) int {
	if c := cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minor, w.minor), cmp.Compare(v.patch, w.patch)); c != 0 {
		return c
	}
	if len(v.pre) == 0 || len(w.pre) == 0 { // a release comes after its pre-releases
		return cmp.Compare(len(w.pre), len(v.pre))
	}
	for i := range min(len(v.pre), len(w.pre)) {
		a, errA := strconv.ParseUint(v.pre[i], 10, 64)
		b, errB := strconv.ParseUint(w.pre[i], 10, 64)
		c := 0
		switch {
		case errA == nil && errB == nil:
			c = cmp.Compare(a, b)
		case errA == nil:
			c = -1
		case errB == nil:
			c = 1
		default:
			c = cmp.Compare(v.pre[i], w.pre[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

// allows reports whether a version fits what a command asks for: nothing,
// exactly "1.2.3", "~1.2" (the same minor, no older) or "^1.2" (compatible, no
// older).
func allows(constraint string, v version) (bool, error) {
	if constraint == "" {
		return true, nil
	}
	base := strings.TrimLeft(constraint, "^~")
	operator := constraint[:len(constraint)-len(base)]
	if operator != "" {
		for strings.Count(base, ".") < 2 {
			base += ".0"
		}
	}
	want, err := parseVersion(base)
	if err != nil || len(operator) > 1 {
		return false, fmt.Errorf("%q is not a plugin version such as 1.2.0, ~1.2 or ^1.2", constraint)
	}
	if operator == "" {
		return v.compare(want) == 0, nil
	}
	if v.compare(want) < 0 || v.major != want.major || len(v.pre) > 0 && len(want.pre) == 0 {
		return false, nil
	}
	if operator == "~" || want.major == 0 { // before 1.0 each minor version may break
		return v.minor == want.minor, nil
	}
	return true, nil
}
