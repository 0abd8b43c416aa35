package sdk

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Option says more about a plugin than its name.
type Option func(*options) error

type options struct {
	description *pluginpb.DescribeResponse
	configure   func([]byte, []*pluginpb.Secret) error
	grpc        []grpc.ServerOption
	idleExit    time.Duration
}

// Version sets the version of the plugin, a semantic version such as "1.4.0".
// Without it the version is the one that the build was stamped with.
func Version(version string) Option {
	return func(o *options) error {
		o.description.Version = version
		return nil
	}
}

// Docs sets the documentation for operators and callers, Markdown.
func Docs(markdown string) Option {
	return func(o *options) error {
		o.description.Docs = markdown
		return nil
	}
}

// ExampleKind says what an example shows.
type ExampleKind int32

// The kinds of examples.
const (
	Quick ExampleKind = ExampleKind(pluginpb.ExampleKind_EXAMPLE_KIND_QUICK) // ends well within a second
	Long  ExampleKind = ExampleKind(pluginpb.ExampleKind_EXAMPLE_KIND_LONG)  // runs for at least ten seconds
	Fails ExampleKind = ExampleKind(pluginpb.ExampleKind_EXAMPLE_KIND_FAILS) // ends with an error
	Rows  ExampleKind = ExampleKind(pluginpb.ExampleKind_EXAMPLE_KIND_TABLE) // ends with a table of several rows and columns
	Logs  ExampleKind = ExampleKind(pluginpb.ExampleKind_EXAMPLE_KIND_LOGS)  // writes to stdout and stderr
	Big   ExampleKind = ExampleKind(pluginpb.ExampleKind_EXAMPLE_KIND_BIG)   // ends with a result too large to be inline
)

// Example is a ready-made job that shows and tests the plugin.
type Example struct {
	Kind     ExampleKind
	Title    string
	Settings any      // written as JSON; nil: none
	Input    any      // written as JSON; nil: none
	Needs    []string // what must be there, such as "env:PGHOST"
}

// Examples adds ready-made jobs.
func Examples(examples ...Example) Option {
	return func(o *options) error {
		for _, e := range examples {
			settings, err := objectJSON(e.Settings)
			if err != nil {
				return fmt.Errorf("example %q: settings: %w", e.Title, err)
			}
			input, err := objectJSON(e.Input)
			if err != nil {
				return fmt.Errorf("example %q: input: %w", e.Title, err)
			}
			o.description.Examples = append(o.description.Examples, &pluginpb.Example{
				Kind:     pluginpb.ExampleKind(e.Kind),
				Title:    e.Title,
				Settings: settings,
				Input:    input,
				Needs:    e.Needs,
			})
		}
		return nil
	}
}

func objectJSON(v any) ([]byte, error) {
	if v == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(v)
}

// Resume promises that the plugin can go on with the outside work of an earlier
// attempt from a checkpoint in one of the given formats. Job.Save writes the
// first; without any, format 1.
func Resume(formats ...int32) Option {
	return func(o *options) error {
		if len(formats) == 0 {
			formats = []int32{1}
		}
		o.description.Capabilities.Resume = true
		o.description.Capabilities.CheckpointFormats = formats
		return nil
	}
}

// PerJob asks for a process of its own for each attempt.
func PerJob() Option {
	return func(o *options) error {
		o.description.Capabilities.Isolation = []pluginpb.Isolation{pluginpb.Isolation_ISOLATION_PER_JOB}
		return nil
	}
}

// MaxConcurrency bounds the attempts at once in one process.
func MaxConcurrency(n int) Option {
	return func(o *options) error {
		o.description.Capabilities.MaxConcurrency = int32(n)
		return nil
	}
}

// ReadOnly promises that no job of the plugin ever changes anything outside.
func ReadOnly() Option {
	return func(o *options) error {
		o.description.Capabilities.ReadOnly = true
		return nil
	}
}

// RetrySafe promises that a job may be started again after an unknown outcome.
func RetrySafe() Option {
	return func(o *options) error {
		o.description.Capabilities.RetrySafe = true
		return nil
	}
}

// GRPC adds options to the server that the plugin is served on, such as
// interceptors for tracing.
func GRPC(more ...grpc.ServerOption) Option {
	return func(o *options) error {
		o.grpc = append(o.grpc, more...)
		return nil
	}
}

// Configure takes the operator's settings of the plugin itself, which hold for
// all its jobs. The function is called before the first job and again when they
// change, also while jobs run; it does not keep the pointer's target shared
// between calls, and an error says what is wrong with the settings.
func Configure[Settings any](take func(*Settings) error) Option {
	return func(o *options) error {
		shape, err := shapeOf(reflect.ValueOf(new(Settings)))
		if err != nil {
			return fmt.Errorf("plugin settings: %w", err)
		}
		if o.description.PluginSettingsSchema, err = shape.schema(); err != nil {
			return fmt.Errorf("plugin settings: %w", err)
		}
		o.configure = func(settings []byte, secrets []*pluginpb.Secret) error {
			value := new(Settings)
			if err := shape.decode(settings, secrets, value); err != nil {
				return err
			}
			return take(value)
		}
		return nil
	}
}
