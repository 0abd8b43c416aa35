package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/attribute"
	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Public says what of contexts everybody may know. Templates of attributes see
// nothing else of them.
type Public interface {
	// Public returns the context of a command or a cluster.
	Public(e *catalog.Entry) []byte
	// PublicInput returns the input of a job of a command.
	PublicInput(c *catalog.Command, input json.RawMessage) []byte
}

// Shown returns what is shown with a job of which its plugin has reported outputs:
// what the cluster declares, then the command, then the outputs; of the same name, the
// last. An attribute that cannot be made is left out.
func (r *Runner) Shown(j *job.Job, outputs []job.Output) []job.Output {
	return r.shown(j, outputs, func(string, error) {})
}

// shown tells failed of attributes that cannot be made for another reason than that
// something is not there.
func (r *Runner) shown(j *job.Job, outputs []job.Output, failed func(name string, err error)) []job.Output {
	snapshot := r.Catalog.Snapshot()
	command, cluster := snapshot.Command(j.Pair.CommandID), snapshot.Cluster(j.Pair.ClusterID)
	if r.Public == nil || command == nil || cluster == nil || len(command.Attributes)+len(cluster.Attributes) == 0 {
		return outputs
	}
	data := r.data(j, command, cluster, outputs)
	var all []job.Output
	for _, declared := range []map[string]catalog.Attribute{cluster.Attributes, command.Attributes} {
		for _, name := range slices.Sorted(maps.Keys(declared)) {
			a := declared[name]
			value, err := r.templates.Render(a.Kind, a.Value, data)
			switch {
			case err != nil && !errors.Is(err, attribute.ErrMissing):
				failed(name, err)
			case err == nil && value != "":
				all = put(all, job.Output{Key: name, Value: value, Kind: a.Kind})
			}
		}
	}
	for _, o := range outputs {
		all = put(all, o)
	}
	return all
}

// put adds an output, or replaces that of its name.
func put(all []job.Output, o job.Output) []job.Output {
	same := func(known job.Output) bool { return known.Key == o.Key }
	if i := slices.IndexFunc(all, same); i >= 0 {
		all[i] = o
		return all
	}
	return append(all, o)
}

// data is what templates see of a job: nothing that GET does not show.
func (r *Runner) data(j *job.Job, command *catalog.Command, cluster *catalog.Cluster, outputs []job.Output) map[string]any {
	values := make(map[string]any, len(outputs))
	for _, o := range outputs {
		values[o.Key] = o.Value
	}
	of := described(&command.Object, r.Public.Public(&catalog.Entry{Kind: catalog.CommandKind, Command: command}))
	of["Plugin"] = command.Plugin
	return map[string]any{
		"Job": map[string]any{
			"ID": string(j.ID), "Name": j.Name, "Version": j.Version, "Description": j.Description, "User": j.User,
			"Tags": list(j.Tags), "Context": open(r.Public.PublicInput(command, j.Context)), "CreatedAt": j.CreatedAt.Unix(),
			"CommandID": j.Pair.CommandID, "CommandName": j.Pair.CommandName,
			"ClusterID": j.Pair.ClusterID, "ClusterName": j.Pair.ClusterName,
		},
		"Command": of,
		"Cluster": described(&cluster.Object, r.Public.Public(&catalog.Entry{Kind: catalog.ClusterKind, Cluster: cluster})),
		"Outputs": values,
	}
}

func described(o *catalog.Object, public []byte) map[string]any {
	return map[string]any{
		"ID": o.ID, "Name": o.Name, "Version": o.Version, "Description": o.Description, "Tags": list(o.Tags), "Context": open(public),
	}
}

func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}

// open reads a public context. What is not shown of it, and null, are missing.
func open(public []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(public))
	decoder.UseNumber()
	var all map[string]any
	if decoder.Decode(&all) != nil || all == nil {
		return map[string]any{}
	}
	return without(all)
}

// without removes what stands in the place of secrets.
func without(value any) any {
	switch v := value.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, of any) bool { return of == nil || hidden(of) })
		for name := range v {
			v[name] = without(v[name])
		}
	case []any:
		v = slices.DeleteFunc(v, func(of any) bool { return of == nil || hidden(of) })
		for i := range v {
			v[i] = without(v[i])
		}
		return v
	}
	return value
}

// hidden reports whether a value only says that something is set, and what it refers
// to.
func hidden(value any) bool {
	v, ok := value.(map[string]any)
	if !ok || v["set"] != true {
		return false
	}
	for name := range v {
		if name != "set" && name != "ref" && name != "part" {
			return false
		}
	}
	return true
}
