package pluginhost

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Isolation says how the attempts of a plugin share processes.
type Isolation string

// The kinds of isolation.
const (
	Shared Isolation = "shared"  // one process of a build serves all its attempts
	PerJob Isolation = "per-job" // each attempt has a process of its own, which ends with it
)

// Policy is what the operator wants of one plugin.
type Policy struct {
	Isolation Isolation // "": the one that the plugin prefers
	// Limits hold for each process of the plugin and what it starts. Those of an
	// attempt come before them where it has a process of its own.
	Limits Limits
}

var isolations = map[pluginpb.Isolation]Isolation{
	pluginpb.Isolation_ISOLATION_SHARED:  Shared,
	pluginpb.Isolation_ISOLATION_PER_JOB: PerJob,
}

// isolate decides how attempts share processes: what the operator wants, within
// what the plugin can do. Every plugin can be alone with its attempt.
func isolate(d *Description, policy Policy) (Isolation, error) {
	if policy.Isolation == Shared && !slices.Contains(d.Isolation, Shared) {
		return "", fmt.Errorf("plugin %s must have a process for each job, and the configuration wants one for all: "+
			"set isolation = %q in [plugins.policy.%s], or leave it out", d.Name, PerJob, d.Name)
	}
	return cmp.Or(policy.Isolation, d.Isolation[0]), nil
}

// isolation returns the kinds that a plugin can work under, the one that it
// prefers first.
func isolation(c *pluginpb.Capabilities) (known []Isolation) {
	for _, kind := range c.GetIsolation() {
		if name, ok := isolations[kind]; ok {
			known = append(known, name)
		}
	}
	if len(known) == 0 {
		return []Isolation{Shared}
	}
	return known
}
