package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

// maxNameBytes bounds ids, names and versions, so that the system tags made of
// them are tags.
const maxNameBytes = 200

// maxDescriptionBytes bounds descriptions, which are in every list: as those of jobs.
const maxDescriptionBytes = 4096

const wantPluginName = `the name of a plugin is ` + pluginname.Rule + `; want what follows "` + pluginname.Prefix + `" in the name of its file`

var headerName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)

// Catalog returns the commands and clusters as a snapshot of its own. Ids
// default to names, contexts to {}.
func (c *Config) Catalog() (*catalog.Snapshot, error) {
	found := newFaults("", nil)
	c.checkCatalog(found)
	if err := found.err(); err != nil {
		return nil, err
	}
	commands := make([]*catalog.Command, len(c.Commands))
	for i, command := range c.Commands {
		commands[i] = &catalog.Command{
			Object: catalog.Object{
				ID:          command.id(),
				Name:        command.Name,
				Version:     command.Version,
				Description: command.Description,
				Status:      status(command.Status),
				Tags:        slices.Clone(command.Tags),
				Attributes:  attributes(command.Attributes),
				Context:     object(command.Context),
			},
			Plugin:        command.Plugin,
			PluginVersion: command.PluginVersion,
			Sync:          command.Sync,
			ClusterTags:   slices.Clone(command.ClusterTags),
			Timeout:       command.Timeout,
			Detach:        command.OnShutdown == "detach",
			Limits:        command.Limits.catalog(),
			Retry:         command.Retry.catalog(),
			MaxRunning:    command.MaxRunning,
			Bounds:        catalog.Bounds{Timeout: command.MaxTimeout, Attempts: command.MaxAttempts, Priority: command.MaxPriority},
			Keep:          command.Keep,
		}
	}
	clusters := make([]*catalog.Cluster, len(c.Clusters))
	for i, cluster := range c.Clusters {
		clusters[i] = &catalog.Cluster{
			Object: catalog.Object{
				ID:          cluster.id(),
				Name:        cluster.Name,
				Version:     cluster.Version,
				Description: cluster.Description,
				Status:      status(cluster.Status),
				Tags:        slices.Clone(cluster.Tags),
				Attributes:  attributes(cluster.Attributes),
				Context:     object(cluster.Context),
			},
			MaxRunning: cluster.MaxRunning,
		}
	}
	snapshot, err := catalog.NewSnapshot(commands, clusters)
	if err != nil {
		return nil, fmt.Errorf("make the catalog: %w", err)
	}
	return snapshot, nil
}

func (c Command) id() string {
	if c.ID == "" {
		return c.Name
	}
	return c.ID
}

func (c Cluster) id() string {
	if c.ID == "" {
		return c.Name
	}
	return c.ID
}

func status(s catalog.Status) catalog.Status {
	if s == "" {
		return catalog.Active
	}
	return s
}

func object(context json.RawMessage) json.RawMessage {
	if len(context) == 0 {
		return json.RawMessage("{}")
	}
	return context
}

func (c *Config) checkCatalog(found *faults) {
	taken := make(map[string]string, len(c.Commands))
	for i, command := range c.Commands {
		key := element("commands", i)
		checkObject(found, key, command.ID, command.Name, command.Version, command.Tags, taken)
		switch {
		case command.Plugin == "":
			found.add(key+".plugin", "this is missing; name the plugin that does the work")
		case !pluginname.Valid(command.Plugin):
			found.add(key+".plugin", "%s", wantPluginName)
		}
		for j, set := range command.ClusterTags {
			if err := set.Check(); err != nil {
				found.add(element(key+".cluster_tags", j), "%v", err)
			}
		}
		checkDescription(found, key, command.Description)
		checkAttributes(found, key+".attributes", command.Attributes)
		checkNotNegative(found, key+".timeout", command.Timeout)
		checkLimits(found, key+".limits", command.Limits)
		checkRetry(found, key+".retry", command.Retry)
		checkBounds(found, key, command)
		if how := command.OnShutdown; how != "" && how != "wait" && how != "detach" {
			found.add(key+".on_shutdown", `want "wait" or "detach"`)
		}
	}
	clear(taken)
	for i, cluster := range c.Clusters {
		key := element("clusters", i)
		checkObject(found, key, cluster.ID, cluster.Name, cluster.Version, cluster.Tags, taken)
		checkDescription(found, key, cluster.Description)
		checkAttributes(found, key+".attributes", cluster.Attributes)
		checkNotNegative(found, key+".max_running", cluster.MaxRunning)
	}
}

// checkObject judges what commands and clusters have in common. Taken maps the
// ids that were seen to their keys.
func checkObject(found *faults, key, id, name, version string, tags tag.Set, taken map[string]string) {
	if strings.TrimSpace(name) == "" {
		found.add(key+".name", "this is missing; give it a name")
	} else if fault := badName(name); fault != "" {
		found.add(key+".name", "%s", fault)
	}
	if fault := badName(version); fault != "" {
		found.add(key+".version", "%s", fault)
	}

	idKey := key + ".id"
	if id == "" {
		id, idKey = name, key+".name"
	}
	if fault := badName(id); fault != "" {
		found.add(idKey, "%s", fault)
	} else if strings.Contains(id, "/") || id == "." || id == ".." {
		found.add(idKey, "%q cannot be an id, which is a part of URLs; leave out the slashes and dots, or set id", id)
	} else if id == "statuses" {
		found.add(idKey, "%q cannot be an id: its URL is that of the list of statuses; set another", id)
	}
	if first, ok := taken[id]; !ok {
		taken[id] = idKey
	} else if id != "" {
		file, line := found.where(first)
		place := ""
		if line > 0 {
			place = fmt.Sprintf(" (%s:%d)", file, line)
		}
		found.add(idKey, "the id %q is taken by %s%s; give one of them another id", id, first, place)
	}

	if err := tags.Check(); err != nil {
		found.add(key+".tags", "%v", err)
	}
	for _, t := range tags {
		if strings.HasPrefix(t, "_id:") || strings.HasPrefix(t, "_name:") || strings.HasPrefix(t, "_version:") {
			found.add(key+".tags", "%q is a tag that every object has of itself; leave it out", t)
		}
	}
}

func checkDescription(found *faults, key, description string) {
	switch {
	case len(description) > maxDescriptionBytes:
		found.add(key+".description", "this is longer than %d bytes", maxDescriptionBytes)
	case !utf8.ValidString(description):
		found.add(key+".description", "this is not UTF-8")
	}
}

// badName says why a text cannot be an id, name or version; empty when it can.
func badName(s string) string {
	switch {
	case len(s) > maxNameBytes:
		return fmt.Sprintf("this is longer than %d bytes", maxNameBytes)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, isUnseen):
		return fmt.Sprintf("%q has characters that no name may have", s)
	case s != strings.TrimSpace(s):
		return fmt.Sprintf("%q begins or ends with space; leave it out", s)
	}
	return ""
}

// isUnseen is true of what a reader does not see, but what changes what he does see:
// control characters, and those that turn the direction of a text.
func isUnseen(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
