// Package tag holds the words that commands, clusters and jobs carry, and the
// criteria that choose by them.
package tag

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLen is the length of the longest tag, bytes.
const MaxLen = 256

// MaxCount is the number of tags that one set may have.
const MaxCount = 256

// Set is a sorted list of distinct tags.
type Set []string

// New returns the set of the given tags. Surrounding space is cut and empty
// tags are left out.
func New(tags ...string) Set {
	set := make(Set, 0, len(tags))
	for _, t := range tags {
		if t = strings.TrimSpace(t); t != "" {
			set = append(set, t)
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// With returns the set with more tags.
func (s Set) With(tags ...string) Set {
	return New(append(slices.Clone([]string(s)), tags...)...)
}

// Has reports whether the set contains the tag.
func (s Set) Has(t string) bool {
	_, found := slices.BinarySearch(s, t)
	return found
}

// Missing returns the tags of want that the set lacks.
func (s Set) Missing(want Set) Set {
	var missing Set
	for _, t := range want {
		if !s.Has(t) {
			missing = append(missing, t)
		}
	}
	return missing
}

// Check returns an error that names the first tag which cannot be one: too
// long, not UTF-8, or with control characters.
func (s Set) Check() error {
	if len(s) > MaxCount {
		return fmt.Errorf("%d tags are more than %d", len(s), MaxCount)
	}
	for _, t := range s {
		if len(t) > MaxLen {
			return fmt.Errorf("tag %.40q… is longer than %d bytes", t, MaxLen)
		}
		if !utf8.ValidString(t) || strings.ContainsFunc(t, unicode.IsControl) {
			return fmt.Errorf("tag %q has characters that no tag may have", t)
		}
	}
	return nil
}

// System returns the tags that every object has of itself; what it lacks, such
// as a version, gives none.
func System(id, name, version string) Set {
	var set Set
	for _, t := range [][2]string{{"_id:", id}, {"_name:", name}, {"_version:", version}} {
		if t[1] != "" {
			set = append(set, t[0]+t[1])
		}
	}
	return New(set...)
}
