package pluginhost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/heimdall-run/heimdall/sdk/pluginname"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Description is what a plugin says of itself.
type Description struct {
	Name           string
	Version        string
	SDKVersion     string
	SettingsSchema json.RawMessage // JSON Schema 2020-12; nil when there is none
	InputSchema    json.RawMessage
	Limits         bool        // it holds the limits of an attempt for the programs that the attempt runs
	Isolation      []Isolation // that it can work under, the preferred one first; never empty
	MaxConcurrency int         // most attempts at once in one process; 0: no limit
	ReadOnly       bool        // no job changes anything outside
	RetrySafe      bool        // a job may be started again after an unknown outcome
	Resume         []int32     // formats of checkpoints that it can go on from
	Examples       []Example
	Docs           string // Markdown
}

// Example is a ready-made job of a plugin.
type Example struct {
	Kind     string // quick, long, fails, table, logs or big
	Title    string
	Settings json.RawMessage
	Input    json.RawMessage
	Needs    []string // such as "env:PGHOST"
}

// describe checks what a plugin says of itself against its file's name.
func describe(d *pluginpb.DescribeResponse, f build) (*Description, version, error) {
	if d.GetName() != f.name {
		return nil, version{}, fmt.Errorf("%s calls itself %q: name the file %s%s or build the plugin as %q", f.source, d.GetName(), pluginname.Prefix, d.GetName(), f.name)
	}
	v, err := parseVersion(d.GetVersion())
	if err != nil {
		return nil, version{}, fmt.Errorf("plugin %s has a bad version: %w", f.name, err)
	}
	if f.version != "" {
		if named, err := parseVersion(f.version); err != nil || named.compare(v) != 0 {
			return nil, version{}, fmt.Errorf("%s is version %s of the plugin: its file name must end with _v%s", f.source, d.GetVersion(), d.GetVersion())
		}
	}
	if !slices.Contains(d.GetKinds(), pluginpb.Kind_KIND_COMMAND) {
		return nil, version{}, fmt.Errorf("plugin %s performs no jobs, and this host knows no other kind", f.name)
	}
	settings, err := schema(d.GetSettingsSchema())
	if err != nil {
		return nil, version{}, fmt.Errorf("plugin %s has a bad schema of its settings: %w", f.name, err)
	}
	input, err := schema(d.GetInputSchema())
	if err != nil {
		return nil, version{}, fmt.Errorf("plugin %s has a bad schema of its input: %w", f.name, err)
	}
	described := &Description{
		Name:           d.GetName(),
		Version:        d.GetVersion(),
		SDKVersion:     d.GetSdkVersion(),
		SettingsSchema: settings,
		InputSchema:    input,
		Limits:         slices.Contains(d.GetFeatures(), featureLimits),
		Isolation:      isolation(d.GetCapabilities()),
		MaxConcurrency: int(max(d.GetCapabilities().GetMaxConcurrency(), 0)),
		ReadOnly:       d.GetCapabilities().GetReadOnly(),
		RetrySafe:      d.GetCapabilities().GetRetrySafe(),
		Docs:           d.GetDocs(),
	}
	if d.GetCapabilities().GetResume() {
		described.Resume = d.GetCapabilities().GetCheckpointFormats()
	}
	for _, e := range d.GetExamples() {
		described.Examples = append(described.Examples, Example{
			Kind:     exampleKinds[e.GetKind()],
			Title:    e.GetTitle(),
			Settings: e.GetSettings(),
			Input:    e.GetInput(),
			Needs:    e.GetNeeds(),
		})
	}
	return described, v, nil
}

var exampleKinds = map[pluginpb.ExampleKind]string{
	pluginpb.ExampleKind_EXAMPLE_KIND_QUICK: "quick",
	pluginpb.ExampleKind_EXAMPLE_KIND_LONG:  "long",
	pluginpb.ExampleKind_EXAMPLE_KIND_FAILS: "fails",
	pluginpb.ExampleKind_EXAMPLE_KIND_TABLE: "table",
	pluginpb.ExampleKind_EXAMPLE_KIND_LOGS:  "logs",
	pluginpb.ExampleKind_EXAMPLE_KIND_BIG:   "big",
}

// schema checks that a text can be a JSON Schema: an object or a boolean.
func schema(text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	raw := json.RawMessage(bytes.TrimSpace([]byte(text)))
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%.60q is not JSON", text)
	}
	if raw[0] != '{' && raw[0] != 't' && raw[0] != 'f' {
		return nil, fmt.Errorf("%.60q is not a JSON Schema", text)
	}
	return raw, nil
}
