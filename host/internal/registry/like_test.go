package registry

import "testing"

func TestLike(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "anything", true},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"a%", "ab", true},
		{"%a", "ba", true},
		{"%a%", "bab", true},
		{"%ab%ab", "abxab", true},
		{"%ab%ab", "ab", false},
		{"%%", "", true},
		{"_", "é", true},
		{"_", "", false},
		{"__", "a", false},
		{`\%`, "%", true},
		{`\%`, "a", false},
		{`\_a`, "_a", true},
		{`\\`, `\`, true},
		{"a_c%e", "abcde", true},
		{"%aab", "aaaab", true},
		{"%x", "aaaa", false},
	} {
		if got := like(c.pattern, c.text); got != c.want {
			t.Errorf("like(%q, %q) = %t, want %t", c.pattern, c.text, got, c.want)
		}
	}
}
