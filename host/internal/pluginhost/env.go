package pluginhost

import (
	"os"
	"slices"
)

// environment returns what a plugin sees of the host's own environment: what
// programs need to work at all, and the extra names that the operator allows.
// Everything else may hold a secret.
func environment(extra []string) []string {
	names := []string{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE"}
	var env []string
	for _, name := range slices.Concat(names, extra) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
