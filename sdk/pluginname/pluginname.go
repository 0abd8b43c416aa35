// Package pluginname says what plugins and their files are called, for whoever
// makes, checks or runs one.
package pluginname

import (
	"fmt"
	"regexp"
	"strings"
)

// Prefix begins the name of every plugin binary. The plugin's follows, then "_v"
// and its version if it says one.
const Prefix = "heimdall-plugin-"

// Rule is what a name must be, in words.
const Rule = `small letters, digits, "-" and "_", at most 63`

var (
	valid   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	version = regexp.MustCompile(`^(.+)_v([0-9].*)$`)
)

// Valid reports whether a plugin may have the name.
func Valid(name string) bool { return valid.MatchString(name) }

// OfFile returns the name and the version that the name of a file says, if it
// begins as those of plugins do. It does not look whether they are valid.
func OfFile(file string) (name, ver string, ok bool) {
	name, ok = strings.CutPrefix(file, Prefix)
	if m := version.FindStringSubmatch(name); ok && m != nil {
		return m[1], m[2], true
	}
	return name, "", ok
}

// Check returns nil when a plugin may have the name, and its file too.
func Check(name string) error {
	if !Valid(name) {
		return fmt.Errorf("%q is no name for a plugin: want %s, a letter or digit first", name, Rule)
	}
	if short, ver, _ := OfFile(Prefix + name); short != name {
		return fmt.Errorf("%q is no name for a plugin: its file would be taken for version %s of %s", name, ver, short)
	}
	return nil
}
