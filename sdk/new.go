package sdk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/heimdall-run/heimdall/sdk/pluginname"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// sdkVersion is what plugins say they were made with.
const sdkVersion = "go/0.1.0"

// version is set by the linker: -X github.com/heimdall-run/heimdall/sdk.version=1.2.3.
var version string

var versionPattern = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// New makes the server of a plugin, without a process around it. Most authors
// call Serve instead. It fails when the name, an option or the types of settings
// and input cannot be described.
func New[P Plugin[Input], Input any](name string, create func() P, opts ...Option) (*Server, error) {
	o := &options{
		description: &pluginpb.DescribeResponse{
			Features:     []string{featureLimits},
			Name:         name,
			Version:      buildVersion(),
			SdkVersion:   sdkVersion,
			Kinds:        []pluginpb.Kind{pluginpb.Kind_KIND_COMMAND},
			Capabilities: &pluginpb.Capabilities{},
		},
		configure: configureNone,
		idleExit:  idleExit,
	}
	for _, option := range opts {
		if err := option(o); err != nil {
			return nil, fmt.Errorf("plugin %s: %w", name, err)
		}
	}
	if err := pluginname.Check(name); err != nil {
		return nil, err
	}
	if !versionPattern.MatchString(o.description.GetVersion()) {
		return nil, fmt.Errorf("plugin %s: version %q is not a semantic version such as 1.2.3", name, o.description.GetVersion())
	}

	s := &Server{
		description: o.description,
		configure:   o.configure,
		options:     o.grpc,
		idleExit:    o.idleExit,
		log:         slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}),
		attempts:    map[string]*attempt{},
		forgotten:   map[string]struct{}{},
		early:       map[string]*pluginpb.CancelRequest{},
	}
	s.lease.sooner = make(chan struct{}, 1)
	s.lease.touch()
	if err := bind[P, Input](s, create); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", name, err)
	}
	return s, nil
}

// bind connects the types of the author with the server, which knows none.
func bind[P Plugin[Input], Input any](s *Server, create func() P) error {
	sample := reflect.ValueOf(create())
	if sample.Kind() != reflect.Pointer || sample.IsNil() {
		return errors.New("create must return a pointer that is not nil")
	}
	settings, err := shapeOf(sample)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	sampleInput := new(Input)
	fill(sampleInput)
	input, err := shapeOf(reflect.ValueOf(sampleInput))
	if err != nil {
		return fmt.Errorf("input: %w", err)
	}
	if s.description.SettingsSchema, err = settings.schema(); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if s.description.InputSchema, err = input.schema(); err != nil {
		return fmt.Errorf("input: %w", err)
	}

	s.instances.create = func(text []byte, secrets []*pluginpb.Secret) (any, error) {
		plugin := create()
		return plugin, settings.decode(text, secrets, plugin)
	}
	_, none := any(*sampleInput).(None)
	s.perform = func(a *attempt, plugin any) error {
		job := newJob[Input](a)
		if !none {
			fill(&job.Input)
			if err := input.decode(a.request.GetInput(), nil, &job.Input); err != nil {
				return Errorf(Invalid, "input: %w", err)
			}
		}
		a.begin()
		return plugin.(P).Run(a.ctx, job)
	}
	return nil
}

func fill(input any) {
	if d, ok := input.(Defaulter); ok {
		d.Default()
	}
}

func configureNone(settings []byte, secrets []*pluginpb.Secret) error {
	tree, err := parse(settings)
	if err != nil {
		return err
	}
	if object, ok := tree.(map[string]any); !ok || len(object) > 0 || len(secrets) > 0 {
		return errors.New("it takes none")
	}
	return nil
}

// buildVersion returns the version that the binary was built as.
func buildVersion() string {
	if version != "" {
		return strings.TrimPrefix(version, "v")
	}

	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "0.0.0"
	}
	found := strings.TrimPrefix(info.Main.Version, "v")
	if !versionPattern.MatchString(found) {
		return "0.0.0"
	}
	return found
}
