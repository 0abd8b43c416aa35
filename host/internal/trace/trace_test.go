package trace_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/trace"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	caller  = job.Trace("00-" + traceID + "-00f067aa0ba902b7-01")
)

// collector takes spans in, as one of OpenTelemetry does.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*spans.Span
	about map[string]string // of the service
	down  bool
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{about: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request otlp.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "not spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		http.Error(w, "down", http.StatusForbidden) // which is not tried again
		return
	}
	for _, of := range request.ResourceSpans {
		for _, a := range of.Resource.Attributes {
			c.about[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// open returns a tracer whose environment is that of the process.
func open(t *testing.T, log hclog.Logger, environment map[string]string) *trace.Tracer {
	t.Helper()
	for _, name := range []string{"OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"} {
		t.Setenv(name, environment[name])
	}
	tracer, err := trace.Open(t.Context(), trace.Config{
		Getenv: func(name string) string { return environment[name] }, Version: "1.2.3", Host: "h-1",
		Plugin: func(string) string { return "ping" }, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func closeTracer(t *testing.T, tracer *trace.Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// claimed is an attempt of a job that was submitted within a trace.
func claimed(within job.Trace, attempt int) (job.Claimed, job.Outcome) {
	begun := time.Date(2026, 11, 23, 7, 32, 3, 0, time.UTC)
	j := &job.Job{ID: "0190-1", User: "ann", Pair: job.Pair{CommandID: "ping-1", ClusterID: "local"}, CreatedAt: begun}
	j.Trace = within
	c := job.Claimed{Job: j, Lease: job.Lease{JobID: j.ID, Attempt: attempt}}
	return c, job.Outcome{Status: job.Succeeded, StartedAt: begun.Add(2 * time.Second), EndedAt: begun.Add(5 * time.Second)}
}

// A request, the wait of its job, the attempt and its plugin are spans of the
// caller's trace, each within the one that it belongs to; what the plugin was told
// before is the span that comes out.
func TestSpans(t *testing.T) {
	c := newCollector(t)
	tracer := open(t, hclog.NewNullLogger(), map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"})
	within, answered := tracer.Request(httptest.NewRequest("POST", "/api/v1/job", nil), "/api/v1/job", caller)
	if within.ID() != traceID || within.Span() == caller.Span() || !within.Sampled() {
		t.Errorf("within = %q, want another span of the trace of %q", within, caller)
	}
	attempt, outcome := claimed(within, 1)
	told := tracer.Plugin(attempt)
	outcome.Status, outcome.Error = job.Failed, &job.Error{Class: job.Unavailable, Message: "no secret of anybody"}
	tracer.Ended(attempt, outcome)
	answered(http.StatusBadGateway)
	closeTracer(t, tracer)

	byName := map[string]*spans.Span{}
	for _, s := range c.spans {
		byName[s.Name] = s
		if got := hex.EncodeToString(s.TraceId); got != traceID {
			t.Errorf("span %s is of trace %s, want %s", s.Name, got, traceID)
		}
		if strings.Contains(s.String(), "no secret") {
			t.Errorf("span %s has the message of the error, want its class only", s.Name)
		}
	}
	request, wait, run, plugin := byName["POST /api/v1/job"], byName["queue"], byName["attempt"], byName["plugin"]
	if len(c.spans) != 4 || request == nil || wait == nil || run == nil || plugin == nil {
		t.Fatalf("spans = %v, want those of the request, the queue, the attempt and the plugin", c.spans)
	}
	for _, p := range []struct {
		span *spans.Span
		want string // the parent
	}{
		{request, caller.Span()},
		{wait, hex.EncodeToString(request.SpanId)},
		{run, hex.EncodeToString(request.SpanId)},
		{plugin, hex.EncodeToString(run.SpanId)},
	} {
		if got := hex.EncodeToString(p.span.ParentSpanId); got != p.want {
			t.Errorf("the parent of %s is %s, want %s", p.span.Name, got, p.want)
		}
	}
	if got := hex.EncodeToString(plugin.SpanId); got != told.Span() || told.ID() != traceID {
		t.Errorf("the plugin was told %q, and its span is %s", told, got)
	}
	if took := time.Duration(wait.EndTimeUnixNano - wait.StartTimeUnixNano); took != 2*time.Second {
		t.Errorf("the wait took %v, want 2s", took)
	}
	if took := time.Duration(plugin.EndTimeUnixNano - plugin.StartTimeUnixNano); took != 3*time.Second {
		t.Errorf("the plugin took %v, want 3s", took)
	}
	if run.Status.Code != spans.Status_STATUS_CODE_ERROR || run.Status.Message != "unavailable" || request.Status.Code != spans.Status_STATUS_CODE_ERROR {
		t.Errorf("status of the attempt = %v, of the request = %v, want errors", run.Status, request.Status)
	}
	if c.about["service.name"] != "heimdall" || c.about["service.version"] != "1.2.3" || c.about["deployment.environment"] != "test" {
		t.Errorf("the service is %v, want its name, its version, and what the environment says", c.about)
	}
}

// Only the first attempt has waited in the queue, and what nobody traces has no spans.
func TestFewerSpans(t *testing.T) {
	for name, c := range map[string]struct {
		within  job.Trace
		attempt int
		want    int
	}{
		"a later attempt": {caller, 2, 2},
		"not sampled":     {caller[:53] + "00", 1, 0},
		"no trace":        {"", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			into := newCollector(t)
			tracer := open(t, hclog.NewNullLogger(), map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": into.URL})
			tracer.Ended(claimed(c.within, c.attempt))
			closeTracer(t, tracer)
			if len(into.spans) != c.want {
				t.Errorf("spans = %v, want %d", into.spans, c.want)
			}
		})
	}
}

// The environment says whether there are traces; what it says wrongly is an error.
func TestOpen(t *testing.T) {
	const at = "http://127.0.0.1:1"
	for name, c := range map[string]struct {
		environment map[string]string
		on          bool
		fault       string
	}{
		"nothing":          {nil, false, ""},
		"an endpoint":      {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": at}, true, ""},
		"one for traces":   {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": at}, true, ""},
		"by grpc":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": at, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, ""},
		"asked for":        {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"none":             {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": at}, false, ""},
		"disabled":         {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, false, ""},
		"another exporter": {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, `OTEL_TRACES_EXPORTER is "zipkin"`},
		"another protocol": {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, false, `"smoke"`},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, err := trace.Open(t.Context(), trace.Config{Getenv: func(name string) string { return c.environment[name] }, Log: hclog.NewNullLogger()})
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("error = %v, want %q in it", err, c.fault)
			}
			if (tracer != nil) != c.on {
				t.Errorf("traces are on = %t, want %t", tracer != nil, c.on)
			}
			closeTracer(t, tracer)
		})
	}
}

// Without traces, the plugin is told what the caller said.
func TestOff(t *testing.T) {
	var tracer *trace.Tracer
	c, _ := claimed(caller, 1)
	if got := tracer.Plugin(c); got != caller {
		t.Errorf("the plugin is told %q, want %q", got, caller)
	}
}

// A collector that does not take spans is told of once.
func TestNoCollector(t *testing.T) {
	into := newCollector(t)
	into.down = true
	var out bytes.Buffer
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	tracer := open(t, hclog.New(&hclog.LoggerOptions{Output: &out, Mutex: &sync.Mutex{}}), map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": into.URL})
	for i := range 3 {
		tracer.Ended(claimed(caller, 2+i))
	}
	closeTracer(t, tracer)
	if n := strings.Count(out.String(), "traces cannot be exported"); n != 1 || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("log = %q, want one line", out.String())
	}
}
