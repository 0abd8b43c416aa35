package conformance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

func describeCases() []testCase {
	const look = "rpc Describe and DescribeResponse in proto/heimdall/plugin/v1/plugin.proto"
	described := []string{afterDescribe}
	return []testCase{
		{id: afterDescribe, title: "it describes itself before it was configured", look: look, after: []string{afterLine}, run: describes},
		{id: "describe-again", title: "it describes itself the same way each time, in every process and to every host", look: look, after: described, run: describesTheSame},
		{id: "describe-name", title: "its name is that of its file", look: look, after: described, run: nameFits},
		{id: "describe-version", title: "its version is a semantic version, and that of its file if that says one", look: look, after: described, run: versionFits},
		{id: "describe-kinds", title: "it says that it performs jobs", look: look, after: described, run: performsJobs},
		{id: "describe-capabilities", title: "what it can do makes sense", look: look, after: described, run: capabilitiesMakeSense},
		{id: "describe-schemas", title: "its schemas are JSON Schemas (2020-12) of objects that stand alone", look: look, after: described, run: schemasAreValid},
		{id: "describe-examples", title: "its examples fit its schemas, secrets left out", look: look, after: []string{"describe-schemas"}, run: examplesFit},
	}
}

// describes learns what the plugin is, for all later cases.
func describes(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	d, err := p.describe(ctx, "0.1.0")
	if err != nil {
		return err
	}
	s := k.suite
	s.description = d
	// A bad schema is a finding of its own case; the others do without.
	if s.settings, err = readSchema(d.GetSettingsSchema()); err != nil {
		s.settings = &schema{}
	}
	if s.input, err = readSchema(d.GetInputSchema()); err != nil {
		s.input = &schema{}
	}
	s.all = slices.Clone(s.Examples)
	if s.Examples == nil {
		s.all = described(d)
	}
	s.mu.Lock()
	s.extra = variables(s.all)
	s.mu.Unlock()
	for i := range s.all {
		e := &s.all[i]
		if e.settings, e.secrets, err = s.settings.split(e.Settings); err != nil {
			e.settings = e.Settings // a finding of its own case
		}
	}
	return nil
}

func describesTheSame(ctx context.Context, k *check) error {
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for n, version := range []string{"0.1.0", "0.1.0", "99.0.0"} {
		again, err := p.describe(ctx, version)
		if err != nil {
			return err
		}
		if !proto.Equal(k.description, again) {
			return saw("Describe %d of a second process differs in %s", n+1, difference(k.description, again)).want("the same answer for the same binary")
		}
	}
	return nil
}

// difference names the first fields that two descriptions differ in.
func difference(a, b *pluginpb.DescribeResponse) string {
	var names []string
	fields := a.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !a.ProtoReflect().Get(f).Equal(b.ProtoReflect().Get(f)) {
			names = append(names, string(f.Name()))
		}
	}
	return strings.Join(names, ", ")
}

func nameFits(_ context.Context, k *check) error {
	if got := k.description.GetName(); got != k.suite.name {
		return saw("the name %q", got).want("%q, as the file says", k.suite.name)
	}
	return nil
}

func versionFits(_ context.Context, k *check) error {
	got := k.description.GetVersion()
	if !semver.MatchString(got) {
		return saw("the version %q", got).want("a semantic version such as 1.2.3")
	}
	core := func(v string) string { v, _, _ = strings.Cut(v, "+"); return v }
	if k.named != "" && core(k.named) != core(got) {
		return saw("the version %q in a file named _v%s", got, k.named).want("the same in both")
	}
	return nil
}

func performsJobs(_ context.Context, k *check) error {
	if !slices.Contains(k.description.GetKinds(), pluginpb.Kind_KIND_COMMAND) {
		return saw("the kinds %v", k.description.GetKinds()).want("KIND_COMMAND among them")
	}
	return nil
}

func capabilitiesMakeSense(_ context.Context, k *check) error {
	c := k.description.GetCapabilities()
	if n := c.GetMaxConcurrency(); n < 0 {
		return saw("max_concurrency is %d", n).want("at least 0, which is without limit")
	}
	if c.GetResume() && len(c.GetCheckpointFormats()) == 0 {
		return saw("resume without checkpoint_formats").want("the numbers of the formats that it can go on from")
	}
	if !c.GetResume() && len(c.GetCheckpointFormats()) > 0 {
		return saw("checkpoint_formats without resume").want("both or none")
	}
	for _, i := range c.GetIsolation() {
		if pluginpb.Isolation_name[int32(i)] == "" || i == pluginpb.Isolation_ISOLATION_UNSPECIFIED {
			return saw("the isolation %v", i).want("shared or per job")
		}
	}
	return nil
}

func schemasAreValid(_ context.Context, k *check) error {
	for _, s := range []struct{ what, text string }{
		{"settings_schema", k.description.GetSettingsSchema()},
		{"input_schema", k.description.GetInputSchema()},
		{"plugin_settings_schema", k.description.GetPluginSettingsSchema()},
	} {
		read, err := readSchema(s.text)
		if err != nil {
			return saw("%s: %s", s.what, clip(err.Error(), 400)).want("a JSON Schema")
		}
		if read.compiled == nil {
			continue
		}
		if types := read.compiled.Types; types != nil && !slices.Equal(types.ToStrings(), []string{"object"}) {
			return saw("%s is of the type %v", s.what, types.ToStrings()).want("the schema of an object")
		}
		for _, pointer := range read.secrets() {
			if s.what == "input_schema" {
				return saw("%s marks %s as secret", s.what, pointer).want("secrets in settings only: what callers write is stored and shown")
			}
		}
	}
	return nil
}

func examplesFit(_ context.Context, k *check) error {
	if len(k.all) == 0 {
		return skip("there are no examples")
	}
	var errs []error
	for i, e := range k.all {
		if e.Kind == "" {
			errs = append(errs, fmt.Errorf("example %d (%q) has no kind", i+1, e.Title))
		}
		if err := k.settings.fits(e.Settings); err != nil {
			errs = append(errs, fmt.Errorf("settings of example %d (%q): %s", i+1, e.Title, clip(err.Error(), 300)))
		}
		if err := k.input.fits(e.Input); err != nil && e.Kind != "fails" {
			errs = append(errs, fmt.Errorf("input of example %d (%q): %s", i+1, e.Title, clip(err.Error(), 300)))
		}
	}
	if len(errs) > 0 {
		return saw("%s", clip(errors.Join(errs...).Error(), 1000)).want("that each fits its schema")
	}
	return nil
}
