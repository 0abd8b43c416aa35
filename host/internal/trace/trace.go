// Package trace tells OpenTelemetry of requests and of what became of their jobs.
// Spans of jobs are made when an attempt has ended, by whoever records that: what
// they need is kept with the job, and their ids follow from it, so that an attempt
// which outlives its host has its spans all the same.
package trace

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config is what a tracer needs. Where spans go, which are kept, and what the
// service is called, is in the usual variables OTEL_*.
type Config struct {
	Getenv  func(name string) string
	Version string // of the host
	Host    string // its id
	// Plugin returns the name of a command's plugin, "" when that is not known.
	Plugin func(command string) string
	Log    hclog.Logger
}

// Tracer makes spans. A nil one makes none.
type Tracer struct {
	plugin   func(command string) string
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// name is that of the instrumentation.
const name = "github.com/heimdall-run/heimdall/host"

// Open returns a tracer when the environment asks for one: OTEL_TRACES_EXPORTER is
// otlp, or not set and there is an OTEL_EXPORTER_OTLP_ENDPOINT. Else it returns nil.
func Open(ctx context.Context, c Config) (*Tracer, error) {
	wanted, err := wanted(c.Getenv)
	if err != nil || !wanted {
		return nil, err
	}
	client, err := client(c.Getenv)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("open the export of traces (OTEL_EXPORTER_OTLP_ENDPOINT): %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "heimdall"),
			attribute.String("service.version", c.Version),
			attribute.String("service.instance.id", c.Host)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv()) // which goes before what is above
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&patient{SpanExporter: exporter, log: c.Log}),
		sdktrace.WithResource(about),
		sdktrace.WithIDGenerator(ids{}))
	return &Tracer{plugin: c.Plugin, provider: provider, tracer: provider.Tracer(name, trace.WithInstrumentationVersion(c.Version))}, nil
}

// wanted reports whether the environment asks for traces.
func wanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	case "":
		return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "", nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: traces are exported by otlp, or not at all: none", exporter)
	}
}

// client returns what speaks the protocol that the environment asks for.
func client(getenv func(string) string) (otlptrace.Client, error) {
	protocol := getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.NewClient(), nil
	case "grpc":
		return otlptracegrpc.NewClient(), nil
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: want http/protobuf or grpc", protocol)
}

// Close exports what is left, as long as ctx lasts.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("end the export of traces: %w", err)
	}
	return nil
}

// patient exports spans and says once when that does not work, and once when it does
// again. Spans that cannot be exported are lost.
type patient struct {
	sdktrace.SpanExporter
	log  hclog.Logger
	away bool // only the one who exports uses it
}

// ExportSpans implements sdktrace.SpanExporter.
func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := p.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !p.away:
		p.log.Warn("traces cannot be exported and are lost", "error", err)
	case err == nil && p.away:
		p.log.Info("traces are exported again")
	}
	p.away = err != nil
	return nil // it was said
}
